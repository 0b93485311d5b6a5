// ---- Sound: the twin of sound.numpy_piano; see there. `piano` is sound.PIANO, times are seconds ----

// One key ringing undamped, struck softly and hard: two arrays of `needed` samples or more, fewer if it dies before.
function ringingKey(piano, pitch, needed, rate) {
  const stiffness = piano.stiffness * 2 ** ((pitch - 60) / 9);
  const lowestDecay = piano.decay * 2 ** ((pitch - 60) / 18);
  const slowest = Math.min(...piano.strings.map((string) => string[2])) * lowestDecay;
  const length = Math.round(Math.min(piano.longest, Math.log(1000) / slowest) * rate);
  const computed = Math.min(length, Math.max(needed, rate >> 1));
  const soft = new Float32Array(computed), hard = new Float32Array(computed);
  for (let k = 1; k <= piano.partials; k++) {
    const stretch = Math.sqrt((1 + stiffness * k * k) / (1 + stiffness));
    const frequency = 440 * 2 ** ((pitch - 69) / 12) * k * stretch;
    if (k > 1 && frequency >= 0.45 * rate) break;
    const radiated = frequency ** 2 / (frequency ** 2 + piano.board ** 2);
    const shape = Math.sin(Math.PI * k / piano.strike) / k * radiated;
    for (const [weight, tuning, damping] of piano.strings) {
      const [a, b] = piano.felt.map((felt) => weight * shape * Math.exp(-frequency / felt));
      const decay = damping * lowestDecay * (1 + piano.decay_step * (k - 1)) / rate;
      const angle = 2 * Math.PI * tuning * frequency / rate;
      const c = Math.exp(-decay) * Math.cos(angle), s = Math.exp(-decay) * Math.sin(angle);
      const audible = Math.min(computed, Math.log(1e5) / decay);
      for (let i = 0, re = 1, im = 0; i < audible; i++) {  // a decaying sine is a turning, shrinking arrow
        soft[i] += a * im;
        hard[i] += b * im;
        const next = re * c - im * s;
        im = re * s + im * c;
        re = next;
      }
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

// Notes {on, off, pitch, velocity} as samples, the loudest of which is `peak`.
async function playNotes(piano, notes, seconds, rate, peak) {
  const release = piano.release * rate, damped = Math.ceil(5 * release);
  const samples = new Float32Array(Math.round(seconds * rate));
  const longest = {}, keys = {};
  for (const note of notes) {
    longest[note.pitch] = Math.max(longest[note.pitch] || 0, Math.round((note.off - note.on) * rate) + damped);
  }
  let breath = performance.now();
  for (const {on, off, pitch, velocity} of notes) {
    if (performance.now() - breath > 30) {  // let the page move between slices of work
      await new Promise((resolve) => setTimeout(resolve));
      breath = performance.now();
    }
    const first = Math.round(on * rate), held = Math.round((off - on) * rate), [a, b] = blow(velocity);
    const [soft, hard] = keys[pitch] ||= ringingKey(piano, pitch, longest[pitch], rate);
    const end = Math.min(held + damped, soft.length, samples.length - first);
    for (let i = 0; i < Math.min(held, end); i++) samples[first + i] += a * soft[i] + b * hard[i];
    for (let i = held; i < end; i++) {
      const damper = Math.exp((held - i) / release) * (1 - (i - held) / (damped - 1));
      samples[first + i] += damper * (a * soft[i] + b * hard[i]);
    }
  }
  const fade = Math.min(Math.round(0.1 * rate), samples.length);
  for (let i = 1; i <= fade; i++) samples[samples.length - i] *= (i - 1) / (fade - 1);
  const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  return samples.map((sample) => sample * peak / (loudest || 1));
}
