"use strict";

const STATE_MS = 400;
const PEOPLE_SHOWN = 6;
const canvases = [...document.querySelectorAll("canvas")];
const stop = document.getElementById("stop");
let last = -1;
let ended = false;
let live = false;

const say = (id, text) => {
  const element = document.getElementById(id);
  if (element && element.textContent !== text) element.textContent = text;
};

const visible = () => new Promise((done) => {
  if (!document.hidden) return done();
  document.addEventListener("visibilitychange", () => visible().then(done), { once: true });
});

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function end(note) {
  if (ended) return;
  ended = true;
  stop.disabled = true;
  document.body.classList.add("ended");
  say("state", `${note} Nothing more comes; this page can be closed.`);
}

function tell(state) {
  if (state.frame !== undefined) {
    if (state.fps !== null) say("fps", state.fps.toFixed(1));
    say("rate", `of ${state.source_fps} that come; ${state.dropped} dropped so far`);
    state.people.forEach((people, side) => {
      say(`faces${side}`, String(people.length));
      say(`word${side}`, people.length === 1 ? "face" : "faces");
      const shown = people.slice(0, PEOPLE_SHOWN).map(([number, sure]) => `person ${number}: confidence ${sure.toFixed(2)}`);
      if (people.length > PEOPLE_SHOWN) shown.push(`and ${people.length - PEOPLE_SHOWN} more`);
      say(`people${side}`, shown.length ? shown.join("; ") : "nobody seen");
    });
    say("apart", state.apart === null ? "–" : `${state.apart.toFixed(1)}%`);
    const mean = state.apart_mean === null ? "" : `; ${state.apart_mean.toFixed(1)}% on average over ${state.apart_frames} frames`;
    say("mean", `of the face's size${mean}`);
  }
  if (state.ended) end(state.ended);
}

async function frames() {
  let failures = 0;
  while (!ended) {
    await visible();
    try {
      const answer = await fetch(`frame?after=${last}`);
      if (answer.status === 204) continue;
      if (!answer.ok) throw new Error(`${answer.status}`);
      if (answer.headers.get("Content-Type").startsWith("application/json")) {
        tell(await answer.json());
        continue;
      }
      last = Number(answer.headers.get("Frame"));
      const picture = await createImageBitmap(await answer.blob());
      const width = picture.width / canvases.length;
      canvases.forEach((canvas, side) => {
        if (canvas.width !== width || canvas.height !== picture.height) {
          canvas.width = width;
          canvas.height = picture.height;
        }
        canvas.getContext("2d").drawImage(picture, side * width, 0, width, picture.height, 0, 0, width, picture.height);
        canvas.dataset.frame = String(last);
      });
      picture.close();
      failures = 0;
      if (!live) {
        live = true;
        say("state", "Live.");
      }
    } catch (error) {
      failures += 1;
      if (failures > 3) end("The command that showed this has ended.");
      else await pause(500);
    }
  }
}

async function figures() {
  while (!ended) {
    await visible();
    try {
      const answer = await fetch("state");
      if (answer.ok) tell(await answer.json());
    } catch {
      // The pictures' loop says so.
    }
    await pause(STATE_MS);
  }
}

stop.addEventListener("click", async () => {
  stop.disabled = true;
  say("state", "Stopping.");
  try {
    tell(await (await fetch("stop", { method: "POST" })).json());
  } catch {
    end("The command that showed this has ended.");
  }
});

document.getElementById("panes").style.setProperty("--shape", String(canvases[0].width / canvases[0].height));
frames();
figures();
