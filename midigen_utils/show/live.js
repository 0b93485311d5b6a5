// The network in the browser: the twin of models/numpy_engine.py, in the same order and with the same names. See there.
//
// One stream of music, so a "row (B, D)" is a Float32Array of D numbers. Nothing is allocated from frame to frame:
// every class makes its rows once and hands out the same ones. All that changes from frame to frame lies in one array,
// `Network.memory`, so a moment of the music can be kept and returned to. `uniform()` gives one random number in [0, 1);
// the numbers are asked for in the same order as in Python.

const CANDIDATES = 32;
const DEFAULT_BIN = 19;  // of new notes, where the network has no velocity head and has heard nothing: 0.6 of 32

// ---- The cores: from a frame to features ----

class Mamba {
  constructor(weights, config) {
    const Block = {s6: S6Block, ssd: SSDBlock}[config.ssm];
    this.embed = new Linear(weights, "embed");
    this.blocks = [];
    for (let i = 0; i < config.n_layers; i++) this.blocks.push(new Block(weights, `layers.${i}.`));
    this.norm = weights["norm.weight"].data;
    this.size = this.norm.length;
    this.features = new Float32Array(this.size);
  }

  start(take) {
    return this.blocks.map((block) => block.start(take));
  }

  step(x, states) {
    const {features} = this, stream = this.embed.of(x);
    this.blocks.forEach((block, i) => add(stream, block.step(stream, states[i])));
    rmsNorm(stream, features);
    for (let i = 0; i < features.length; i++) features[i] *= this.norm[i];
    return features;
  }
}

class S6Block {
  constructor(weights, name) {
    this.inProj = new Linear(weights, name + "in_proj", weights[name + "norm.weight"].data);  // (2D, d)
    this.conv = new Convolution(weights, name + "conv");
    this.xProj = new Linear(weights, name + "x_proj");  // (R + 2N, D)
    this.dtProj = new Linear(weights, name + "dt_proj");
    this.A = weights[name + "A_log"].data.map((a) => -Math.exp(a));  // (N, D)
    this.D = weights[name + "D"].data;
    this.outProj = new Linear(weights, name + "out_proj");  // (d, D)
    this.N = weights[name + "A_log"].shape[0];
    this.normed = new Float32Array(this.inProj.inputs);
    [this.dtx, this.y] = [1, 2].map(() => new Float32Array(this.D.length));
  }

  start(take) {
    return [take((this.conv.K - 1) * this.D.length), take(this.A.length)];
  }

  step(stream, [past, h]) {
    const {A, D, N, dtx, y} = this, width = D.length;
    const xz = this.inProj.of(rmsNorm(stream, this.normed));
    const x = this.conv.step(xz, past), z = xz.subarray(width);
    for (let d = 0; d < width; d++) x[d] = silu(x[d]);
    const dtBC = this.xProj.of(x), R = dtBC.length - 2 * N;
    const dt = this.dtProj.of(dtBC);  // reads the first R of them
    for (let d = 0; d < width; d++) {
      dt[d] = softplus(dt[d]);
      dtx[d] = dt[d] * x[d];
      y[d] = D[d] * x[d];
    }
    for (let n = 0; n < N; n++) {
      const B = dtBC[R + n], C = dtBC[R + N + n], row = n * width;
      for (let d = 0; d < width; d++) {
        h[row + d] = h[row + d] * Math.exp(dt[d] * A[row + d]) + B * dtx[d];
        y[d] += C * h[row + d];
      }
    }
    for (let d = 0; d < width; d++) y[d] *= silu(z[d]);
    return this.outProj.of(y);
  }
}

class SSDBlock {
  constructor(weights, name) {
    this.inProj = new Linear(weights, name + "in_proj", weights[name + "norm.weight"].data);  // (2D + 2N + H, d)
    this.conv = new Convolution(weights, name + "conv");
    this.dtBias = weights[name + "dt_bias"].data;
    this.A = weights[name + "A_log"].data.map((a) => -Math.exp(a));
    this.D = weights[name + "D"].data;  // (H,)
    this.outProj = new Linear(weights, name + "out_proj", weights[name + "gated_norm.weight"].data);  // (d, D)
    this.width = this.outProj.inputs;
    this.N = (this.conv.C - this.width) / 2;
    this.normed = new Float32Array(this.inProj.inputs);
    [this.y, this.gated] = [1, 2].map(() => new Float32Array(this.width));
  }

  start(take) {
    return [take((this.conv.K - 1) * this.conv.C), take(this.width * this.N)];
  }

  step(stream, [past, h]) {
    const {width, N, y, gated} = this, H = this.A.length, P = width / H;
    const zxBCdt = this.inProj.of(rmsNorm(stream, this.normed)), last = zxBCdt.length - H;
    const xBC = this.conv.step(zxBCdt.subarray(width), past);
    for (let c = 0; c < xBC.length; c++) xBC[c] = silu(xBC[c]);
    for (let head = 0; head < H; head++) {
      const dt = softplus(zxBCdt[last + head] + this.dtBias[head]), decay = Math.exp(dt * this.A[head]);
      const first = head * P, D = this.D[head];
      for (let p = first; p < first + P; p++) y[p] = D * xBC[p];
      for (let n = 0; n < N; n++) {
        const B = dt * xBC[width + n], C = xBC[width + N + n], row = (head * N + n) * P - first;
        for (let p = first; p < first + P; p++) {
          h[row + p] = h[row + p] * decay + B * xBC[p];
          y[p] += C * h[row + p];
        }
      }
    }
    for (let d = 0; d < width; d++) y[d] *= silu(zxBCdt[d]);
    return this.outProj.of(rmsNorm(y, gated));
  }
}

class Convolution {
  constructor(weights, name) {
    this.weight = weights[name + ".weight"].data;  // (K, C)
    this.bias = weights[name + ".bias"].data;
    [this.K, this.C] = weights[name + ".weight"].shape;
    this.y = new Float32Array(this.C);
  }

  // One frame, the first C numbers of `x`; `past` (K - 1, C) forgets its oldest frame for this one.
  step(x, past) {
    const {weight, bias, K, C, y} = this;
    for (let c = 0; c < C; c++) y[c] = x[c] * weight[(K - 1) * C + c] + bias[c];
    for (let k = 0; k < K - 1; k++) for (let c = 0; c < C; c++) y[c] += past[k * C + c] * weight[k * C + c];
    past.copyWithin(0, C);
    for (let c = 0; c < C; c++) past[(K - 2) * C + c] = x[c];
    return y;
  }
}

class LSTM {
  constructor(weights, config) {
    this.layers = [];
    for (let i = 0; i < config.num_layers; i++) {
      const [x, h] = ["ih", "hh"].map((kind) => weights[`lstm.weight_${kind}_l${i}`]);
      const bias = weights[`lstm.bias_ih_l${i}`].data.map((b, j) => b + weights[`lstm.bias_hh_l${i}`].data[j]);
      this.layers.push([new Linear({"x.weight": x, "x.bias": {data: bias}}, "x"), new Linear({"h.weight": h}, "h")]);
    }
    this.size = this.layers[0][1].inputs;
  }

  start(take) {
    return this.layers.map(() => [take(this.size), take(this.size)]);  // h and c
  }

  step(x, states) {
    const width = this.size;
    this.layers.forEach(([fromX, fromH], i) => {
      const [h, c] = states[i], gates = add(fromX.of(x), fromH.of(h));
      for (let d = 0; d < width; d++) {
        const take = gates[d], keep = gates[width + d], fresh = gates[2 * width + d], show = gates[3 * width + d];
        c[d] = c[d] * sigmoid(keep) + sigmoid(take) * Math.tanh(fresh);
        h[d] = sigmoid(show) * Math.tanh(c[d]);
      }
      x = h;  // output of this layer, input of the next
    });
    return x;
  }
}

// ---- The heads: from features to the next frame ----

// Each key by itself, with the probability sigmoid(logit / temperature); into `frame`, 1 or 0.
function drawKeys(logits, temperature, uniform, frame) {
  for (let key = 0; key < logits.length; key++) {
    frame[key] = uniform() < Math.exp(-softplus(-logits[key] / temperature)) ? 1 : 0;
  }
  return frame;
}

class Chords {
  constructor(weights, name = "chords.") {
    this.fromFeatures = new Linear(weights, name + "from_features").centre();
    this.fromPast = rowsOf(weights[name + "from_past.weight"]);  // P rows of W
    this.fromNotes = rowsOf(weights[name + "from_notes.weight"]);
    this.scale = weights[name + "norm.weight"].data;
    this.shift = weights[name + "norm.bias"].data;
    this.layer = new Linear(weights, name + "layer");
    this.output = new Linear(weights, name + "output");
    const W = this.scale.length, P = this.fromNotes.length, count = CANDIDATES;
    this.candidates = CANDIDATES;  // a slow machine may set fewer
    const many = (n, length, Kind = Float32Array) => Array.from({length: n}, () => new Kind(length));
    Object.assign(this, {P, x: new Float32Array(W), sums: many(count, W), nextSums: many(count, W)});
    Object.assign(this, {hazards: many(count, P, Float64Array), logits: many(count, P)});
    Object.assign(this, {frames: many(1 + count, P), logP: new Float64Array(1 + count)});
    Object.assign(this, {first: new Int32Array(count), nextFirst: new Int32Array(count)});
    Object.assign(this, {going: new Int32Array(count), lookOf: new Int32Array(count)});
    Object.assign(this, {found: new Int32Array(count * P), weights: new Float64Array(1 + count)});
  }

  context(features, past) {
    const sum = this.fromFeatures.of(features);
    for (let key = 0; key < this.P; key++) if (past[key]) add(sum, this.fromPast[key]);
    return sum;
  }

  look(sum) {
    const {x, scale, shift} = this;
    rmsNorm(sum, x);
    for (let i = 0; i < x.length; i++) x[i] = silu(x[i] * scale[i] + shift[i]);
    const inner = this.layer.of(x);
    for (let i = 0; i < inner.length; i++) inner[i] = silu(inner[i]);
    return this.output.of(inner);
  }

  // Draws `copies` frames into this.frames and this.logP, from number `at` on.
  sample(context, uniform, at = 0, copies = 1) {
    const {P, frames, logP, going, lookOf, hazards, found} = this;
    for (let i = 0; i < copies; i++) {
      frames[at + i].fill(0);
      logP[at + i] = 0;
      going[i] = i;  // frames not finished, and the look that each one needs
      lookOf[i] = 0;
    }
    let {sums, nextSums, first, nextFirst} = this, left = copies, looks = 1;
    sums[0].set(context);
    first[0] = 0;
    while (left) {
      for (let l = 0; l < looks; l++) {
        const logits = this.logits[l];
        logits.set(this.look(sums[l]));
        for (let key = 0, sum = 0; key < P; key++) hazards[l][key] = sum += key < first[l] ? 0 : softplus(logits[key]);
      }
      let still = 0, nextLooks = 0;
      found.fill(-1, 0, looks * P);  // the next look of frames with this look that found this key
      for (let i = 0; i < left; i++) {
        const patience = -Math.log1p(-uniform()), frame = going[i], look = lookOf[i], hazard = hazards[look];
        let key = 0;
        while (key < P && hazard[key] <= patience) key++;  // the next note, P for none
        logP[at + frame] -= hazard[Math.min(key, P - 1)];
        if (key === P) continue;
        logP[at + frame] += this.logits[look][key];
        frames[at + frame][key] = 1;
        if (found[look * P + key] < 0) {
          nextSums[nextLooks].set(sums[look]);
          add(nextSums[nextLooks], this.fromNotes[key]);
          nextFirst[nextLooks] = key + 1;
          found[look * P + key] = nextLooks++;
        }
        going[still] = frame;
        lookOf[still++] = found[look * P + key];
      }
      [sums, nextSums, first, nextFirst] = [nextSums, sums, nextFirst, first];
      [left, looks] = [still, nextLooks];
    }
  }

  choose(features, past, temperature, uniform) {
    const {frames, logP, P, candidates} = this, weights = this.weights.subarray(0, 1 + candidates);
    const context = this.context(features, past);
    this.sample(context, uniform);
    if (temperature === 1 || frames[0].every((down, key) => down === past[key])) return frames[0];
    this.sample(context, uniform, 1, candidates);
    let downs = 0, ups = 0;
    for (let i = 0; i <= candidates; i++) {
      let down = 0, up = 0;
      for (let key = 0; key < P; key++) {
        down += frames[i][key] > past[key] ? 1 : 0;
        up += frames[i][key] < past[key] ? 1 : 0;
      }
      if (i === 0) [downs, ups] = [down, up];
      weights[i] = down === downs && up === ups ? logP[i] * (1 / temperature - 1) : -Infinity;
    }
    return frames[draw(weights, 1, uniform)];
  }
}

class Velocities {
  constructor(weights, name = "velocity.") {
    this.bins = weights[name + "output.bias"].data.length;
    this.fromFeatures = new Linear(weights, name + "from_features").centre();
    this.fromPast = rowsOf(weights[name + "from_past.weight"]);
    for (const row of this.fromPast) for (let i = 0; i < row.length; i++) row[i] /= this.bins;
    this.fromStruck = rowsOf(weights[name + "from_struck.weight"]);
    this.fromLevel = centred(rowsAsStored(weights[name + "from_level.weight"]));
    this.fromKey = centred(rowsAsStored(weights[name + "from_key.weight"]));
    this.scale = weights[name + "norm.weight"].data;
    this.shift = weights[name + "norm.bias"].data;
    this.output = new Linear(weights, name + "output");
    this.x = new Float32Array(this.scale.length);
  }

  // Writes the velocity bins of the next frame, in which `keys` are down, into `bins`; see strike in Python.
  strike(features, past, level, keys, temperature, uniform, bins) {
    const {x, scale, shift} = this, P = keys.length;
    let frame = null;
    for (let key = 0; key < P; key++) bins[key] = keys[key] ? past[key] : 0;
    for (let key = 0; key < P; key++) {
      if (!keys[key] || past[key]) continue;
      if (!frame) {
        frame = this.fromFeatures.of(features);
        for (let k = 0; k < P; k++) if (past[k]) addTimes(frame, this.fromPast[k], past[k]);
        for (let k = 0; k < P; k++) if (keys[k] && !past[k]) add(frame, this.fromStruck[k]);
        add(frame, this.fromLevel[level]);
      }
      x.set(frame);
      rmsNorm(add(x, this.fromKey[key]), x);
      for (let i = 0; i < x.length; i++) x[i] = silu(x[i] * scale[i] + shift[i]);
      bins[key] = 1 + draw(this.output.of(x), temperature, uniform);
    }
  }
}

// A number from 0 to n - 1, drawn from the softmax of n logits divided by a temperature.
function draw(logits, temperature, uniform) {
  let most = -Infinity, sum = 0, chosen = 0;
  for (const logit of logits) most = Math.max(most, logit / temperature);
  for (const logit of logits) sum += Math.exp(logit / temperature - most);
  const threshold = uniform() * sum;
  for (let i = 0, p = 0; i < logits.length - 1; i++) {
    p += Math.exp(logits[i] / temperature - most);
    chosen += p <= threshold ? 1 : 0;
  }
  return chosen;
}

// ---- Numbers ----

// An nn.Linear, with its weight (out, in) as torch stores it. `scale` is what its input is multiplied by before.
class Linear {
  constructor(weights, name, scale) {
    const {data, shape} = weights[name + ".weight"];
    [this.outputs, this.inputs] = shape;
    this.weight = scale ? data.map((w, i) => w * scale[i % this.inputs]) : data;
    this.bias = weights[name + ".bias"]?.data || new Float32Array(this.outputs);
    this.y = new Float32Array(this.outputs);
  }

  // Outputs less their mean: then a layer norm of sums of them has no mean to take away.
  centre() {
    const rows = rowsOf({data: this.weight, shape: [this.outputs, this.inputs]});
    this.weight = this.weight.map((_, i) => rows[i % this.inputs][Math.floor(i / this.inputs)]);
    this.bias = centred([this.bias.slice()])[0];
    return this;
  }

  // Four outputs at a time: the processor then has four sums to go on with, and need not wait for one.
  of(x) {
    const {weight, bias, inputs, outputs, y} = this, whole = outputs - outputs % 4;
    for (let o = 0; o < whole; o += 4) {
      const a = o * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
      let p = 0, q = 0, r = 0, s = 0;
      for (let i = 0; i < inputs; i++) {
        const value = x[i];
        p += value * weight[a + i];
        q += value * weight[b + i];
        r += value * weight[c + i];
        s += value * weight[d + i];
      }
      y[o] = p + bias[o];
      y[o + 1] = q + bias[o + 1];
      y[o + 2] = r + bias[o + 2];
      y[o + 3] = s + bias[o + 3];
    }
    for (let o = whole; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += x[i] * weight[o * inputs + i];
      y[o] = sum;
    }
    return y;
  }
}

// The columns of a weight (W, n) as n centred rows of W: what each input adds.
function rowsOf({data, shape: [outputs, inputs]}) {
  return centred(Array.from({length: inputs}, (_, i) => Float32Array.from({length: outputs},
    (_, o) => data[o * inputs + i])));
}

function rowsAsStored({data, shape: [count, width]}) {
  return Array.from({length: count}, (_, i) => data.slice(i * width, (i + 1) * width));
}

function centred(rows) {
  for (const row of rows) {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    for (let i = 0; i < row.length; i++) row[i] -= mean;
  }
  return rows;
}

function rmsNorm(x, result) {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const scale = 1 / Math.sqrt(squares / x.length + 1e-5);
  for (let i = 0; i < x.length; i++) result[i] = x[i] * scale;
  return result;
}

function add(sum, row) {
  for (let i = 0; i < sum.length; i++) sum[i] += row[i];
  return sum;
}

function addTimes(sum, row, factor) {
  for (let i = 0; i < sum.length; i++) sum[i] += row[i] * factor;
}

function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

function silu(x) {
  return x / (1 + Math.exp(-x));
}

function softplus(x) {
  return Math.max(x, Math.log1p(Math.exp(Math.min(x, 20))));
}

// ---- The whole: what it has heard so far, and what comes next ----

class Network {
  // about: {config, tensors: [[name, shape], ...]}; base64: their numbers in half precision, one after another.
  constructor({config, tensors}, base64) {
    const weights = unpack(tensors, base64);
    this.core = new {MusicMamba: Mamba, MusicLSTM: LSTM}[config.model](weights, config);
    this.output = new Linear(weights, "output");
    this.chords = config.head === "chords" ? new Chords(weights) : null;
    this.velocities = config.velocity ? new Velocities(weights) : null;
    const P = this.output.outputs, places = [], lengths = [this.core.size, P, 1];
    this.core.start((length) => lengths.push(length));
    this.memory = new Float32Array(lengths.reduce((sum, length) => sum + length));
    lengths.reduce((at, length) => (places.push(this.memory.subarray(at, at + length)), at + length), 0);
    [this.features, this.past, this.level] = places;  // past: velocity bins of the last frame; level: their loudness
    let next = 3;
    this.states = this.core.start(() => places[next++]);
    [this.keys, this.before, this.bins] = [1, 2, 3].map(() => new Float32Array(P));
  }

  // Forget everything, and hear one frame of silence.
  start() {
    this.memory.fill(0);
    this.read(this.bins.fill(0));
  }

  // Hear a frame of velocity bins.
  read(bins) {
    const {past, level, keys} = this;
    let count = 0, total = 0;
    for (let key = 0; key < keys.length; key++) {
      keys[key] = bins[key] > 0 ? 1 : 0;
      if (bins[key] && !past[key]) [count, total] = [count + 1, total + bins[key]];
    }
    if (count) level[0] = Math.floor((2 * total + count) / (2 * count));
    past.set(bins);
    this.features.set(this.core.step(keys, this.states));
  }

  // Draw the next frame, and hear it. `uniform` and `uniformVelocity` may be one function.
  compose(temperature, uniform, uniformVelocity) {
    const {features, past, before, bins, level, chords, velocities} = this;
    for (let key = 0; key < before.length; key++) before[key] = past[key] > 0 ? 1 : 0;
    const keys = chords ? chords.choose(features, before, temperature, uniform)
      : drawKeys(this.output.of(features), temperature, uniform, this.keys);
    if (velocities) velocities.strike(features, past, level[0], keys, temperature, uniformVelocity, bins);
    else for (let key = 0; key < keys.length; key++) bins[key] = keys[key] && (past[key] || level[0] || DEFAULT_BIN);
    this.read(bins);
    return bins;
  }
}

function unpack(tensors, base64) {
  const letters = atob(base64), bytes = new Uint8Array(letters.length), weights = {};
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const halves = new Uint16Array(bytes.buffer), floats = Float32Array.from({length: 1 << 16}, (_, half) => float(half));
  let at = 0;
  for (const [name, shape] of tensors) {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < data.length; i++) data[i] = floats[halves[at++]];
    weights[name] = {shape, data};
  }
  return weights;
}

// A number of half precision: a sign, five bits of exponent, ten of fraction.
function float(half) {
  const sign = half & 0x8000 ? -1 : 1, exponent = half >> 10 & 31, fraction = half & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

// ---- In its worker: rows of the music in, rows of the music out ----

// The page asks for rows a little ahead of the sound. Where it is interrupted, the network goes back to the last row that
// was heard, so that it remembers exactly what has sounded.
const KEPT = 16;  // moments that can be returned to
const SLOW = 30;  // milliseconds for a row, of the 62.5 that there are, from which on fewer candidates must do

function listen() {
  let network, given = [], next = 0, patience = 0;
  const kept = [], phrase = {};
  const keep = (place, row) => {
    (place.memory ||= new Float32Array(network.memory.length)).set(network.memory);
    Object.assign(place, {row, next});
  };
  const goBack = (place) => {
    network.memory.set(place.memory);
    next = place.next;
  };
  const isSilent = (bins) => bins.every((bin) => bin === 0);
  const tasks = {
    load({about, weights}) {
      network = new Network(about, weights);
      network.start();
      for (let i = 0; i < KEPT; i++) keep(kept[i] = {}, -1);
      postMessage({ready: true});
    },
    // Begin with given frames, perhaps none.
    begin({frames, row}) {
      [given, next, patience] = [frames, 0, frames.length ? 0 : 1000];
      network.start();
      keep(kept[(row - 1) % KEPT], row - 1);
    },
    // A row that somebody else has played. Where it falls silent, a phrase has ended.
    read({bins, row}) {
      next = given.length;
      if (isSilent(bins) && !isSilent(network.past)) keep(phrase, row);
      if (!isSilent(bins)) phrase.row = -1;
      network.read(bins);
      keep(kept[row % KEPT], row);
    },
    // Answer the phrase as if no time had passed since its end, and begin with a sound.
    answer() {
      if (phrase.row >= 0) goBack(phrase);
      next = given.length;
      [patience, phrase.row] = [80, -1];
    },
    compose({row, temperature, take}) {
      const begun = performance.now(), isGiven = next < given.length;
      let bins;
      if (isGiven) network.read(bins = given[next++]);
      else do {
        bins = network.compose(temperature, Math.random, Math.random);
      } while (isSilent(bins) && performance.now() - begun < patience);
      const chords = network.chords, spent = performance.now() - begun;
      if (!isGiven && !patience && chords && spent > SLOW) chords.candidates = Math.max(8, chords.candidates >> 1);
      if (!isGiven) patience = 0;
      keep(kept[row % KEPT], row);
      postMessage({row, bins: bins.slice(), isGiven, take});
    },
    rewind({row}) {
      const place = kept[(row + KEPT) % KEPT];
      if (place.row === row) goBack(place);
    },
  };
  onmessage = ({data}) => tasks[data.task](data);
}

if (typeof WorkerGlobalScope !== "undefined") listen();
