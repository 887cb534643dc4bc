import { SingleBar } from "cli-progress";

/** How far a batch is: a bar on a terminal, elsewhere a line for each tenth of the way. */
export interface DemoProgress {
  see(done: number, state: string): void;
  /** A line between, which stays. */
  note(line: string): void;
  end(): void;
}

export function demoProgress(
  total: number,
  say: (line: string) => void,
  what = "documents",
): DemoProgress {
  return process.stdout.isTTY ? bar(total, say, what) : lines(total, say, what);
}

function bar(total: number, say: (line: string) => void, what: string): DemoProgress {
  const make = (from: number) => {
    const one = new SingleBar({
      format: `  [{bar}] {value}/{total} ${what}, {state}`,
      barsize: 40,
      barCompleteChar: "#",
      barIncompleteChar: ".",
      stream: process.stdout,
    });
    one.start(total, from, { state: "" });
    return one;
  };
  let current = make(0);
  let last = 0;
  return {
    see: (done, state) => current.update((last = done), { state }),
    note: (line) => {
      current.stop();
      say(line);
      current = make(last);
    },
    end: () => current.stop(),
  };
}

function lines(total: number, say: (line: string) => void, what: string): DemoProgress {
  let before = "";
  return {
    see: (done, state) => {
      const now = `${state} ${Math.floor((done / total) * 10)}`;
      if (now !== before) say(`  ${done} of ${total} ${what}, ${state}`);
      before = now;
    },
    note: say,
    end: () => undefined,
  };
}
