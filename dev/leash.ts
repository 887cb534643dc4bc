import { spawn } from "node:child_process";
import type { ChildProcess, IOType, SpawnOptions } from "node:child_process";
import type { Socket } from "node:net";
import type { Stream } from "node:stream";

/**
 * The leash is a small shell in a session of its own that reads from a pipe only this process writes to.
 * When the pipe ends, this process is gone, however it went: the shell then stops what is held, kills
 * what does not stop within its grace and what is left of their process groups, and removes the
 * directories it was told of.
 * A zombie counts as gone, because in a container nobody may be there to reap it.
 */
const LEASH = `
trap '' HUP INT TERM
held= dirs= nl='
'
runs() {
  kill -0 "$1" 2>/dev/null || return 1
  if read -r stat <"/proc/$1/stat"; then case \${stat##*) } in [ZX]*) return 1 ;; esac; fi
  return 0
}
without() {
  printf '%s\\n' "$1" | while IFS= read -r line; do
    case $line in "$2"|"$2 "*|'') ;; *) printf '%s\\n' "$line" ;; esac
  done
}
while read -r verb rest; do
  case $verb in
    hold) held="$held$nl$rest" ;;
    gone) held=$(without "$held" "$rest") ;;
    remove) dirs="$dirs$nl$rest" ;;
    removed) dirs=$(without "$dirs" "$rest") ;;
  esac
done
echo "$held" | while read -r pid signal ticks; do [ -n "$pid" ] && kill -s "$signal" "$pid"; done
tick=0 all=$held
while :; do
  left=$(echo "$held" | while read -r pid signal ticks; do
    if [ -n "$pid" ] && runs "$pid"; then
      [ "$tick" -ge "$ticks" ] && { kill -s KILL -- "-$pid" || kill -s KILL "$pid"; }
      echo "$pid $signal $ticks"
    fi
  done)
  [ -z "$left" ] && break
  held=$left tick=$((tick + 1))
  sleep 0.05
done
echo "$all" | while read -r pid rest; do [ -n "$pid" ] && kill -s KILL -- "-$pid"; done
printf '%s\\n' "$dirs" | while IFS= read -r dir; do
  try=0
  while [ -n "$dir" ] && [ -e "$dir" ] && [ "$try" -lt 100 ]; do
    rm -rf -- "$dir" || sleep 0.05
    try=$((try + 1))
  done
done
`;
const TICK_MS = 50;

// The child takes hold of itself before it becomes the command, so there is no moment in which it runs
// and the leash does not know it; and it closes its end of the pipe, which must end with this process.
const TAKE_HOLD = 'echo "hold $$ $0" >&3 && exec "$@" 3>&-';

export interface LeashedOptions extends Pick<SpawnOptions, "cwd" | "env" | "uid" | "gid"> {
  /** Standard input, output and error; by default nothing, and the parent's two. */
  stdio?: [IOType | number, IOType | number | Stream, IOType | number | Stream];
  /** What asks the child to stop when the parent is gone. */
  stopSignal?: NodeJS.Signals;
  /** How long it may take to stop before it is killed, milliseconds. */
  graceMs?: number;
}

let leash: Socket | undefined;

/**
 * Starts a child that never outlives this process, even when this process is killed with SIGKILL.
 * The child leads a process group of its own, so Ctrl-C in the terminal reaches the parent alone, and
 * the parent decides in which order things stop. A command that does not exist ends with exit code 127.
 */
export function spawnLeashed(
  command: string,
  args: string[],
  options: LeashedOptions = {},
): ChildProcess {
  const {
    stdio = ["ignore", "inherit", "inherit"],
    stopSignal = "SIGTERM",
    graceMs = 5_000,
  } = options;
  const held = `${stopSignal.slice(3)} ${Math.ceil(graceMs / TICK_MS)}`;
  const { cwd, env, uid, gid } = options;
  const child = spawn("/bin/sh", ["-c", TAKE_HOLD, held, command, ...args], {
    cwd,
    env,
    uid,
    gid,
    stdio: [...stdio, hold()],
    detached: true,
  });
  child.once("exit", () => leash?.write(`gone ${child.pid}\n`));
  return child;
}

/** Has the directory removed when this process is gone, after everything on the leash has ended. */
export function removeWhenGone(dir: string): void {
  if (!dir.startsWith("/") || dir.includes("\n")) throw new Error(`cannot leash directory ${dir}`);
  hold().write(`remove ${dir}\n`);
}

/** Says that the directory has been removed already. */
export function removed(dir: string): void {
  leash?.write(`removed ${dir}\n`);
}

function hold(): Socket {
  if (leash) return leash;
  const shell = spawn("/bin/sh", ["-c", LEASH, "holdfast-leash"], {
    cwd: "/",
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  const pipe = shell.stdin as Socket;
  const drop = () => {
    if (leash === pipe) leash = undefined;
  };
  shell.once("exit", drop);
  shell.once("error", drop);
  pipe.on("error", drop);
  shell.unref();
  pipe.unref();
  leash = pipe;
  return pipe;
}
