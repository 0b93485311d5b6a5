// ---- Files: sound as WAV, notes {on, off, pitch, velocity} in seconds as MIDI ----

// `channels` are arrays of samples in [-1, 1], such as left and right.
function wavFile(channels, rate) {
  const count = channels.length, samples = new Int16Array(count * channels[0].length), bytes = 2 * samples.length;
  const header = Uint32Array.of(
    0x46464952, 36 + bytes, 0x45564157,  // "RIFF" and "WAVE": four letters read as a number, the first the lowest byte
    0x20746d66, 16, 1 | count << 16, rate, 2 * count * rate, 2 * count | 16 << 16,  // "fmt ": PCM of 16 bits
    0x61746164, bytes);  // "data"
  for (let i = 0; i < samples.length; i++) samples[i] = Math.round(32767 * channels[i % count][i / count | 0]);
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
