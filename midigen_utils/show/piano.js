// ---- Sound: the twin of sound.numpy_piano; see there. `piano` is sound.PIANO, times are seconds ----

// One key ringing undamped, struck softly and hard: two arrays of `needed` samples or more, fewer if it dies before.
function ringingKey(piano, pitch, needed, rate) {
  const stiffness = piano.stiffness * 2 ** ((pitch - 60) / 9);
  const lowestDecay = piano.decay * 2 ** ((pitch - 60) / 18);
  const slowest = Math.min(...piano.strings.map((string) => string[2]));
  const length = Math.round(Math.min(piano.longest, Math.log(1000) / (slowest * lowestDecay)) * rate);
  const computed = Math.min(length, Math.max(needed, rate >> 1));
  const waves = [];  // frequency, decay, and how loud after a soft and a hard blow
  for (let k = 1; k <= piano.partials; k++) {
    const stretch = Math.sqrt((1 + stiffness * k * k) / (1 + stiffness));
    const frequency = 440 * 2 ** ((pitch - 69) / 12) * k * stretch;
    if (k > 1 && frequency >= 0.45 * rate) break;
    const shape = Math.sin(Math.PI * k / piano.strike) * frequency ** 2 / (frequency ** 2 + piano.board ** 2);
    const [a, b] = piano.felt.map((felt) => shape * Math.exp(-frequency / felt));
    waves.push([frequency, lowestDecay * (1 + piano.decay_step * (k - 1)), a, b]);
  }
  const [modes, low, high, dying, loudness] = piano.knock;
  const [softly, hardly] = [2, 3].map((blow) => Math.hypot(...waves.map((wave) => wave[blow])));
  for (let i = 0; i < modes; i++) {
    waves.push([low * (high / low) ** (i * 0.618034 % 1), dying, loudness * softly, loudness * hardly]);
  }

  // A decaying sine y continues itself: the next is 2 r cos(angle) y minus r r times the one before y.
  const soft = new Float32Array(computed), hard = new Float32Array(computed);
  for (const [frequency, decay, a, b] of waves) {
    const [p, q] = piano.strings.map(([weight, tuning, damping]) => {
      const angle = 2 * Math.PI * tuning * frequency / rate, r = Math.exp(-damping * decay / rate);
      return {first: weight * r * Math.sin(angle), now: 2 * r * Math.cos(angle), last: r * r};
    });
    const loud = 5000 * Math.max(Math.abs(a) / softly, Math.abs(b) / hardly);  // until 74 dB below the key
    const ends = piano.strings.map(([weight, , damping]) => Math.log(weight * loud) / (damping * decay) * rate);
    const audible = Math.min(computed, Math.max(...ends));
    let y = p.first, before = 0, z = q.first, beforeZ = 0;
    for (let i = 1; i < audible; i++) {
      soft[i] += a * (y + z);
      hard[i] += b * (y + z);
      const next = p.now * y - p.last * before, nextZ = q.now * z - q.last * beforeZ;
      before = y;
      y = next;
      beforeZ = z;
      z = nextZ;
    }
  }
  const ramp = Math.round(piano.attack * rate), fade = length >> 3;
  for (const tone of [soft, hard]) {
    for (let i = 0; i < ramp; i++) tone[i] *= i / (ramp - 1);
    for (let i = length - fade; i < computed; i++) tone[i] *= (length - 1 - i) / (fade - 1);
    let energy = 0;
    const measured = Math.min(computed, rate >> 1);
    for (let i = 0; i < measured; i++) energy += tone[i] * tone[i];
    const scale = 2 ** (-Math.max(0, pitch - 60) / piano.treble) / Math.sqrt(energy / measured);
    for (let i = 0; i < computed; i++) tone[i] *= scale;
  }
  return [soft, hard];
}

// How loud the soft and the hard sound of a key are at a velocity.
function blow(velocity) {
  const gain = (velocity / 127) ** 1.5;
  return [gain * (1 - gain), gain * gain];
}

// Where a key sounds from: -1 is left, 1 is right, as in a StereoPannerNode.
function pan(piano, pitch) {
  return piano.width * Math.max(-1, Math.min(1, (pitch - 64.5) / 43.5));
}

// What a room adds to a sound: four echoes that repeat, weaker and duller each time, blurred by two all-pass filters.
function room(piano, dry, rate, isRight) {
  const [kept, wider, loudness] = piano.room, length = dry.length;
  const samples = (seconds) => Math.round(seconds * (isRight ? wider : 1) * rate);
  let wet = new Float32Array(length);
  for (const delay of piano.echoes.map(samples)) {
    const echo = new Float32Array(length);
    if (delay < length) wet[delay] += echo[delay] = loudness * dry[0];
    for (let i = delay + 1; i < length; i++) {
      const sample = loudness * dry[i - delay] + kept / 2 * (echo[i - delay] + echo[i - delay - 1]);
      echo[i] = sample;
      wet[i] += sample;
    }
  }
  for (const delay of piano.smear.map(samples)) {
    const blurred = new Float32Array(length);
    for (let i = 0; i < Math.min(delay, length); i++) blurred[i] = -kept * wet[i];
    for (let i = delay; i < length; i++) blurred[i] = wet[i - delay] + kept * (blurred[i - delay] - wet[i]);
    wet = blurred;
  }
  return wet;
}

// Notes {on, off, pitch, velocity} as samples: two arrays, left and right, the loudest sample of which is `peak`.
async function playNotes(piano, notes, seconds, rate, peak) {
  const release = piano.release * rate, damped = Math.ceil(5 * release);
  const left = new Float32Array(Math.round(seconds * rate)), right = left.slice(), dry = left.slice();
  const damper = Float32Array.from({length: damped}, (_, i) => Math.exp(-i / release) * (1 - i / (damped - 1)));
  const longest = {}, keys = {};
  for (const note of notes) {
    longest[note.pitch] = Math.max(longest[note.pitch] || 0, Math.round((note.off - note.on) * rate) + damped);
  }
  let began = performance.now();
  const breathe = async () => {  // let the page move between slices of work
    if (performance.now() - began < 30) return;
    await new Promise((resolve) => setTimeout(resolve));
    began = performance.now();
  };
  for (const {on, off, pitch, velocity} of notes) {
    await breathe();
    const first = Math.round(on * rate), held = Math.round((off - on) * rate), [a, b] = blow(velocity);
    const angle = Math.PI / 4 * (1 + pan(piano, pitch)), l = Math.cos(angle), r = Math.sin(angle);
    const [soft, hard] = keys[pitch] ||= ringingKey(piano, pitch, longest[pitch], rate);
    const end = Math.min(held + damped, soft.length, left.length - first);
    for (let i = 0; i < end; i++) {
      const sample = (a * soft[i] + b * hard[i]) * (i < held ? 1 : damper[i - held]);
      left[first + i] += l * sample;
      right[first + i] += r * sample;
    }
  }
  for (let i = 0; i < dry.length; i++) dry[i] = (left[i] + right[i]) / 2;
  const fade = Math.min(Math.round(0.1 * rate), dry.length);
  let loudest = 0;
  for (const side of [left, right]) {
    await breathe();
    const wet = room(piano, dry, rate, side === right);
    for (let i = 0; i < side.length; i++) {
      side[i] = (side[i] + wet[i]) * Math.min(1, (side.length - 1 - i) / (fade - 1));
      loudest = Math.max(loudest, Math.abs(side[i]));
    }
  }
  for (const side of [left, right]) for (let i = 0; i < side.length; i++) side[i] *= peak / (loudest || 1);
  return [left, right];
}
