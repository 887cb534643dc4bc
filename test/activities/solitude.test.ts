import { expect, test } from "vitest";
import { Solitude } from "../../activities/solitude.ts";

/** Work that is over when it is told. */
function work() {
  let over = () => {};
  let begun = false;
  const done = new Promise<void>((resolve) => (over = resolve));
  return {
    run: () => {
      begun = true;
      return done;
    },
    over,
    get begun() {
      return begun;
    },
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 20));

test("who has to be alone waits for those at work, and nobody overtakes it", async () => {
  const solitude = new Solitude();
  const [first, suspect, last] = [work(), work(), work()];
  const all = [
    solitude.enter(false, first.run),
    solitude.enter(true, suspect.run),
    solitude.enter(false, last.run),
  ];
  await turn();
  expect([first.begun, suspect.begun, last.begun]).toEqual([true, false, false]);
  first.over();
  await turn();
  expect([suspect.begun, last.begun]).toEqual([true, false]);
  suspect.over();
  last.over();
  await Promise.all(all);
  expect(last.begun).toBe(true);
});

test("who cannot be alone in time shares, and holds up nobody behind it", async () => {
  const solitude = new Solitude(50);
  const [long, suspect, next, alone] = [work(), work(), work(), work()];
  const ended = solitude.enter(false, long.run);
  const shared = [solitude.enter(true, suspect.run), solitude.enter(false, next.run)];
  await expect.poll(() => [suspect.begun, next.begun]).toEqual([true, true]);
  suspect.over();
  next.over();
  await Promise.all(shared);
  // What shared has not left as one that was alone.
  const later = solitude.enter(true, alone.run);
  expect(alone.begun).toBe(false);
  long.over();
  await ended;
  alone.over();
  await later;
  expect(alone.begun).toBe(true);
});

test("a wait that is given up leaves the way free for those behind it", async () => {
  const solitude = new Solitude();
  const [long, suspect, next] = [work(), work(), work()];
  const ended = solitude.enter(false, long.run);
  const leaving = new AbortController();
  const given = expect(solitude.enter(true, suspect.run, leaving.signal)).rejects.toThrow("left");
  const behind = solitude.enter(false, next.run);
  expect(next.begun).toBe(false);
  leaving.abort(new Error("left"));
  await given;
  next.over();
  await behind;
  expect(suspect.begun).toBe(false);
  const late = solitude.enter(false, suspect.run, leaving.signal);
  await expect(late).rejects.toThrow("left");
  long.over();
  await ended;
});
