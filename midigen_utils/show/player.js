// ---- The player: a picture that moves, and controls below it. `music` and what the piano needs: see player.html ----

const ROW = 5, AXIS = 24, KEYBOARD = 46, SECOND = 12;  // CSS pixels; a second has at least that many
const NAMES = "C C♯ D D♯ E F F♯ G G♯ A A♯ B".split(" ");
const nameOf = (pitch) => NAMES[pitch % 12] + (Math.floor(pitch / 12) - 1);
const isBlack = (pitch) => [1, 3, 6, 8, 10].includes((pitch + 12) % 12);
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

// Four numbers a note: ticks since the last onset, ticks it lasts, key, velocity. They become seconds.
const notes = [];
for (let i = 0, on = 0; i < music.notes.length; i += 4) {
  on += music.notes[i];
  const [, length, pitch, velocity] = music.notes.slice(i, i + 4);
  notes.push({on: on / music.ticks, off: (on + length) / music.ticks, pitch, velocity});
}

function markup() {
  const button = (name, text, more = "") => `<button type="button" class="midigen-${name}" ${more}>${text}</button>`;
  return `<div class="midigen-picture"><canvas class="midigen-keys" aria-hidden="true"></canvas>
    <div class="midigen-scroll"><div class="midigen-roll" role="slider" tabindex="0"
      aria-label="Position in the music: arrow keys move, space plays"
      aria-valuemin="0" aria-valuemax="${music.seconds}" aria-valuenow="0">
      <canvas aria-hidden="true"></canvas><div class="midigen-ruler"></div><div class="midigen-head"></div></div></div>
    <div class="midigen-name" aria-hidden="true" hidden></div></div>
    <div class="midigen-bar">
    ${button("play", '<svg viewBox="0 0 10 10" aria-hidden="true"><path/></svg><span></span>')}
    <span class="midigen-time"></span>
    ${button("loop", "Loop", 'aria-pressed="false"')}
    <span><label>Tempo <input type="range" min="0.5" max="1.5" step="0.1" value="1"></label>
    <span class="midigen-tempo"></span></span>
    <span>${button("out", "&minus;", 'aria-label="Zoom out"')}${button("in", "+", 'aria-label="Zoom in"')}</span>
    ${button("midi", "&#8595; MIDI", 'aria-label="Download as a MIDI file"')}
    ${button("wav", "&#8595; WAV", 'aria-label="Download as a WAV file"')}
    ${music.seed > 0 ? '<span class="midigen-legend"><i></i>seed<i></i>generated</span>' : ""}
    <span class="midigen-status" role="status"></span></div><audio></audio>`;
}

// ---- The picture: a piano roll, of which only the part in view is drawn, and the keyboard beside it ----

function makePicture(root) {
  const find = (name) => root.querySelector(`.midigen-${name}`);
  const [keyboard, scroll, roll, head, label] = ["keys", "scroll", "roll", "head", "name"].map(find);
  const rows = music.high - music.low + 1, height = Math.max(150, Math.min(360, rows * ROW)), row = height / rows;
  const pitches = Array.from({length: rows}, (_, i) => music.low + i);
  let width = 0, zoom = 1, now = 0, lit = new Set(), colours = {};  // now: seconds at the playhead; lit: sounding keys
  const yOf = (pitch) => (music.high - pitch) * row, xOf = (seconds) => seconds / music.seconds * width;
  const secondsAt = (event) => (event.clientX - roll.getBoundingClientRect().left) / width * music.seconds;
  const inView = (x) => x >= scroll.scrollLeft && x <= scroll.scrollLeft + scroll.clientWidth;
  roll.style.height = `${height + AXIS}px`;
  head.style.height = `${height}px`;

  function brush(canvas, width) {
    const sharp = window.devicePixelRatio || 1;
    Object.assign(canvas, {width: Math.round(width * sharp), height: Math.round((height + AXIS) * sharp)});
    Object.assign(canvas.style, {width: `${width}px`, height: `${height + AXIS}px`});
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    return pen;
  }

  function drawKeyboard() {
    const pen = brush(keyboard, KEYBOARD);
    const fill = (pitch, colour, ...box) => {
      pen.fillStyle = lit.has(pitch) ? colours.music : colour;
      pen.fillRect(...box);
    };
    pen.fillStyle = colours.faint;  // seen between the white keys
    pen.fillRect(0, 0, KEYBOARD - 2, height);
    for (const pitch of pitches.filter((pitch) => !isBlack(pitch))) {  // they reach between their black neighbours
      const top = Math.max(0, yOf(pitch) - (isBlack(pitch + 1) ? row / 2 : 0));
      const bottom = Math.min(height, yOf(pitch) + row + (isBlack(pitch - 1) ? row / 2 : 0));
      fill(pitch, colours.white, 0, top, KEYBOARD - 2, bottom - top - 0.5);
    }
    for (const pitch of pitches.filter(isBlack)) fill(pitch, colours.black, 0, yOf(pitch), 0.5 * KEYBOARD, row);
    pen.font = "9px system-ui, sans-serif";
    pen.textAlign = "right";
    for (const pitch of pitches.filter((pitch) => pitch % 12 === 0)) {
      pen.fillStyle = lit.has(pitch) ? colours.white : colours.black;
      pen.fillText(nameOf(pitch), KEYBOARD - 5, Math.max(8, Math.min(yOf(pitch) + row / 2 + 3, height - 1)));
    }
  }

  function drawRoll() {
    const view = scroll.clientWidth, left = scroll.scrollLeft, pen = brush(roll.querySelector("canvas"), view);
    pen.translate(-left, 0);
    for (const pitch of pitches) {
      pen.fillStyle = colours["black-keys"];
      if (isBlack(pitch)) pen.fillRect(left, yOf(pitch), view, row);
      pen.fillStyle = colours.line;
      if (pitch % 12 === 0) pen.fillRect(left, yOf(pitch) + row, view, 1);
    }
    pen.font = "11px system-ui, sans-serif";
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20].find((step) => xOf(step) >= 60) || 30;
    for (let i = Math.floor(left / xOf(step)); i * step <= music.seconds && xOf(i * step) < left + view + 30; i++) {
      const x = xOf(i * step);
      pen.fillStyle = colours.line;
      pen.fillRect(x, 0, 1, height + 4);
      pen.fillStyle = colours.faint;
      pen.textAlign = i === 0 ? "left" : x > width - 14 ? "right" : "center";
      pen.fillText(`${+(i * step).toFixed(1)} s`, Math.max(x, 10), height + 17);  // clear of the playhead
    }
    const bar = (name, {pitch, velocity}, from, to) => {
      if (to <= from || xOf(to) < left || xOf(from) > left + view) return;
      const box = [xOf(from), yOf(pitch), Math.max(1, xOf(to) - xOf(from) - 0.5), Math.max(1, row - 0.5)];
      for (const [tone, alpha] of [["soft", 1], ["loud", velocity / 127]]) {  // both stand out from the paper
        pen.fillStyle = colours[`${name}-${tone}`];
        pen.globalAlpha = alpha;
        pen.fillRect(...box);
      }
      pen.globalAlpha = 1;
    };
    for (const note of notes) {
      bar("seed", note, note.on, Math.min(note.off, music.seed));
      bar("music", note, Math.max(note.on, music.seed), note.off);
    }
    head.style.transform = `translateX(${xOf(now)}px)`;
  }

  function draw() {
    if (!scroll.clientWidth) return;  // hidden
    const style = getComputedStyle(root);
    const names = "faint line black-keys white black music music-soft music-loud seed-soft seed-loud".split(" ");
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    width = Math.round(Math.max(scroll.clientWidth, music.seconds * SECOND) * zoom);
    roll.style.width = `${width}px`;
    drawRoll();
    drawKeyboard();
  }

  // Move the playhead. The roll follows where it leaves the view, unless the reader has scrolled away from it.
  function show(seconds, keys, bring) {
    const follows = bring || inView(xOf(now));
    now = seconds;
    head.style.transform = `translateX(${xOf(now)}px)`;
    if (follows && !inView(xOf(now))) scroll.scrollLeft = xOf(now) - 0.1 * scroll.clientWidth;
    if (String(keys) === String([...lit])) return;
    lit = new Set(keys);
    drawKeyboard();
  }

  // What stands still on the screen is the playhead, or the middle where that is not in view.
  function zoomBy(factor) {
    if (zoom * factor < 1 || zoom * factor > 8) return;
    const seen = inView(xOf(now)) ? xOf(now) : scroll.scrollLeft + scroll.clientWidth / 2, x = seen - scroll.scrollLeft;
    zoom *= factor;
    draw();
    scroll.scrollLeft = seen * factor - x;
    find("out").setAttribute("aria-disabled", zoom === 1);
    find("in").setAttribute("aria-disabled", zoom === 8);
  }

  function nameNote(event) {
    const seconds = secondsAt(event), near = 3 / width * music.seconds;  // the shortest notes are hard to point at
    const pitch = music.high - Math.floor((event.clientY - roll.getBoundingClientRect().top) / row);
    const note = notes.find((note) => note.pitch === pitch && seconds > note.on - near && seconds < note.off + near);
    label.hidden = !note;
    if (!note) return;
    label.textContent = `${nameOf(pitch)}, velocity ${note.velocity}`;
    const frame = label.parentElement, most = frame.clientWidth - label.offsetWidth - 1;
    const x = event.clientX - frame.getBoundingClientRect().left - label.offsetWidth / 2;
    label.style.left = `${Math.max(0, Math.min(x, most))}px`;
    label.style.top = `${yOf(pitch) < 28 ? yOf(pitch) + row + 6 : yOf(pitch) - 28}px`;
  }

  scroll.addEventListener("scroll", drawRoll);
  roll.addEventListener("pointermove", nameNote);
  roll.addEventListener("pointerleave", () => { label.hidden = true; });
  find("out").addEventListener("click", () => zoomBy(1 / 2));
  find("in").addEventListener("click", () => zoomBy(2));
  find("out").setAttribute("aria-disabled", true);
  return {draw, show, secondsAt, scroll};
}

// ---- The controls, and the sound, which is computed when it is first asked for: fifty players cost nothing ----

function startPlayer(root) {
  root.dataset.ready = "";
  const live = document.createElement("div"), find = (name) => live.querySelector(name);
  live.innerHTML = markup();
  live.setAttribute("role", "group");
  live.setAttribute("aria-label", `Player: ${root.querySelector("p").textContent || "music"}`);
  root.querySelector(".midigen-still").replaceWith(live);
  const names = [".midigen-roll", ".midigen-play", ".midigen-loop", ".midigen-status", "input", "audio"];
  const [roll, play, loop, status, slider, audio] = names.map(find), picture = makePicture(root);
  let position = 0, playing = false, dragging = false;  // position: seconds of the music
  let tempo = 1, tempoOfSound = 0, preparing = null, original = null;  // tempoOfSound: 0 while `audio` has none
  const others = new BroadcastChannel("midigen");  // the players of other cells and frames, too
  others.onmessage = () => playing && pause();

  function show(bring) {
    const sounding = playing || position > 0 ? notes.filter(({on, off}) => on <= position && position < off) : [];
    const keys = sounding.map((note) => note.pitch);
    picture.show(position, keys, bring);
    find(".midigen-time").textContent = `${clock(position)} / ${clock(music.seconds)}`;
    play.querySelector("span").textContent = playing ? "Pause" : "Play";
    play.querySelector("path").setAttribute("d", playing ? "M0 0h3.5v10H0zM6 0h3.5v10H6z" : "M1 0v10l9-5z");
    if (playing && Math.floor(position) === Math.floor(roll.getAttribute("aria-valuenow"))) return;  // is read aloud
    roll.setAttribute("aria-valuenow", position.toFixed(1));
    const chord = playing || !keys.length ? "" : `: ${keys.map(nameOf).join(" ")}`;
    roll.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${music.seconds.toFixed(1)} seconds${chord}`);
  }

  async function render(tempo) {
    status.textContent = "Preparing the sound…";
    const moved = notes.map((note) => ({...note, on: note.on / tempo, off: note.off / tempo}));
    const wav = wavFile(await playNotes(piano, moved, music.seconds / tempo + tail, rate, peak), rate);
    status.textContent = "";
    return wav;
  }
  const asWritten = () => original ||= render(1);

  // Give `audio` the sound at the tempo that is set. It plays its old sound until the new one is there.
  async function prepare() {
    while (tempoOfSound !== tempo) {
      const wanted = tempo, wav = await (wanted === 1 ? asWritten() : render(wanted));
      if (wanted !== tempo) continue;
      URL.revokeObjectURL(audio.src);
      audio.src = URL.createObjectURL(wav);
      const plays = await new Promise((resolve) => {
        audio.addEventListener("loadedmetadata", () => resolve(true), {once: true});
        audio.addEventListener("error", () => resolve(false), {once: true});
      });
      if (!plays) status.textContent = "This viewer plays no sound: save the WAV, or open the page in a browser.";
      tempoOfSound = wanted;
      audio.currentTime = position / wanted;
    }
  }

  async function start() {
    others.postMessage("pause");
    if (position >= music.seconds) seek(0);
    playing = true;
    show(true);
    await (preparing ||= prepare().finally(() => { preparing = null; }));
    if (playing && !dragging) audio.play().catch((error) => error.name === "AbortError" || pause());
  }
  function pause() {
    playing = false;
    audio.pause();
    show();
  }
  function seek(seconds) {
    position = Math.max(0, Math.min(seconds, music.seconds));
    if (tempoOfSound) audio.currentTime = position / tempoOfSound;
    show(true);
  }
  function follow() {
    if (audio.paused || dragging) return;
    position = Math.min(audio.currentTime * tempoOfSound, music.seconds);
    show();
    requestAnimationFrame(follow);
  }
  audio.addEventListener("play", follow);
  audio.addEventListener("pause", () => audio.paused && !dragging && !preparing && pause());  // at the end, too

  const toggle = () => playing ? pause() : start();
  play.addEventListener("click", toggle);
  loop.addEventListener("click", () => {
    audio.loop = !audio.loop;
    loop.setAttribute("aria-pressed", audio.loop);
  });
  const sayTempo = () => { find(".midigen-tempo").textContent = `${Number(slider.value).toFixed(1)} ×`; };
  slider.addEventListener("input", sayTempo);
  slider.addEventListener("change", () => {
    tempo = Number(slider.value);
    if (playing) start();
  });
  roll.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5};
    if (event.key in steps) seek(position + steps[event.key]);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(music.seconds);
    else if (event.key === " " || event.key === "Enter") toggle();
    else return;
    event.preventDefault();
  });

  // A mouse drags the playhead anywhere; a finger does so on the ruler, and elsewhere it scrolls, or taps.
  const drag = (event) => dragging && seek(picture.secondsAt(event));
  roll.addEventListener("pointerdown", (event) => {
    if (event.button || event.pointerType === "touch" && !event.target.matches(".midigen-ruler")) return;
    roll.setPointerCapture(event.pointerId);
    dragging = true;
    audio.pause();
    drag(event);
  });
  roll.addEventListener("pointermove", drag);
  roll.addEventListener("lostpointercapture", () => {
    dragging = false;
    if (playing) start();
  });
  roll.addEventListener("click", (event) => seek(picture.secondsAt(event)));

  function save(blob, ending) {
    const link = document.createElement("a");
    Object.assign(link, {href: URL.createObjectURL(blob), download: root.dataset.name + ending});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  find(".midigen-midi").addEventListener("click", () => save(midiFile(notes, music.seconds, music.ticks), ".mid"));
  find(".midigen-wav").addEventListener("click", async () => save(await asWritten(), ".wav"));

  const queries = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  let seen = false;
  function dress() {
    const {jpThemeLight, vscodeThemeKind} = document.body.dataset;  // the notebook's theme, else the system's
    const dark = jpThemeLight ? jpThemeLight === "false"
      : vscodeThemeKind ? !vscodeThemeKind.includes("light") : queries[0].matches;
    root.classList.toggle("midigen-dark", dark);
    if (seen) picture.draw();
  }
  sayTempo();
  show();
  dress();
  for (const query of queries) query.addEventListener("change", dress);
  new MutationObserver(dress).observe(document.body,
    {attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"]});
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    seen = true;
    new ResizeObserver(picture.draw).observe(picture.scroll);  // also draws the first time
  }, {rootMargin: "200px"}).observe(root);
}
