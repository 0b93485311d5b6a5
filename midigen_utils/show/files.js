// ---- Files: sound as WAV, notes {on, off, pitch, velocity} in seconds as MIDI ----

// `channels` are arrays of samples in [-1, 1], such as left and right.
function wavFile(channels, rate) {
  const count = channels.length, bytes = 2 * count * channels[0].length;
  const header = new DataView(new ArrayBuffer(44)), samples = new Int16Array(bytes / 2);
  const text = (at, word) => [...word].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt()));
  text(0, "RIFF"); header.setUint32(4, 36 + bytes, true); text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, count, true);  // 1 is PCM
  header.setUint32(24, rate, true); header.setUint32(28, 2 * count * rate, true);
  header.setUint16(32, 2 * count, true); header.setUint16(34, 16, true);
  text(36, "data"); header.setUint32(40, bytes, true);
  channels.forEach((channel, j) => channel.forEach((sample, i) => { samples[count * i + j] = Math.round(32767 * sample); }));
  return new Blob([header, samples], {type: "audio/wav"});
}

function midiFile(notes, seconds, ticks) {
  const tick = (time) => Math.round(time * ticks), end = tick(seconds);
  const events = [[end, 0xb0, 64, 0]];  // a pedal-up marks the end: the file lasts as long as the music
  for (const {on, off, pitch, velocity} of notes) {
    events.push([tick(on), 0x90, pitch, velocity], [Math.max(tick(on) + 1, tick(off)), 0x80, pitch, 0]);
  }
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);  // at one time, ends (0x80) before onsets (0x90)
  const track = [0, 0xff, 0x51, 3, 0x07, 0xa1, 0x20, 0, 0xc0, 0];  // 120 beats a minute, grand piano
  let last = 0;
  for (const [at, ...message] of events) {
    const delta = at - last, bytes = [delta & 127];
    for (let rest = delta >> 7; rest; rest >>= 7) bytes.unshift(rest & 127 | 128);
    track.push(...bytes, ...message);
    last = at;
  }
  track.push(0, 0xff, 0x2f, 0);
  const number = (value, size) => Array.from({length: size}, (_, i) => value >> 8 * (size - 1 - i) & 255);
  const letters = (word) => [...word].map((letter) => letter.charCodeAt());
  const header = [...letters("MThd"), ...number(6, 4), ...number(0, 2), ...number(1, 2), ...number(ticks / 2, 2)];
  return new Blob([Uint8Array.from([...header, ...letters("MTrk"), ...number(track.length, 4), ...track])],
    {type: "audio/midi"});
}
