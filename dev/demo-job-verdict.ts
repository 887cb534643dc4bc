/** What the demo has counted of its job, by other means than the ones that kept the promises. */
export interface JobFigures {
  /** As counted before anybody worked them. */
  files: number;
  bytes: number;
  /** How the job ended. */
  state: string;
  /** Items by outcome, from the ledger; and as the job says it. */
  outcomes: Record<string, number>;
  counts: Partial<Record<string, number>>;
  /** Outcomes of items that had one. */
  settledTwice: number;
  /** What workers counted, as the job sums it. */
  countedBytes: number;
  /** Files whose result says another size, or that have none. */
  differing: readonly string[];
  /** Batches handed out again. */
  redeliveries: number;
  /** Absent: no worker was killed. */
  kill?:
    | {
        /** Files settled when it was gone. */
        settled: number;
        /** Open files of the batches it held. */
        inHand: number;
        signal: NodeJS.Signals | null;
      }
    | undefined;
}

/** What was not as promised of the job, a line each. */
export function jobBroken(figures: JobFigures): string[] {
  const { files, bytes, state, outcomes, counts, settledTwice, differing } = figures;
  const { succeeded = 0, ...others } = outcomes;
  const other = Object.entries(others).map(([outcome, n]) => `${n} ${outcome}`);
  return [
    ...(state === "completed" ? [] : [`the job ended ${state}`]),
    ...(succeeded === files
      ? []
      : [`${succeeded} of ${files} files succeeded; ${other.join(", ") || "no others"}`]),
    ...(settledTwice > 0 ? [`${settledTwice} files were settled twice`] : []),
    ...(counts["succeeded"] === succeeded
      ? []
      : [`the job says ${counts["succeeded"] ?? 0} succeeded, its ledger ${succeeded}`]),
    ...(figures.countedBytes === bytes
      ? []
      : [`workers counted ${figures.countedBytes} bytes, there were ${bytes}`]),
    ...(differing.length === 0
      ? []
      : [`${differing.length} files have another size than before, such as ${differing[0]}`]),
    ...killBroken(figures),
  ];
}

function killBroken({ files, kill, redeliveries }: JobFigures): string[] {
  if (!kill) return ["no pull worker was killed in the middle of the job"];
  const { settled, inHand, signal } = kill;
  if (signal !== "SIGKILL") {
    return [`the pull worker ended by ${signal ?? "itself"}, not by SIGKILL`];
  }
  if (settled >= files) return ["the pull worker was killed when all was done"];
  if (inHand === 0) return ["the pull worker was killed with nothing in its hands"];
  return redeliveries > 0 ? [] : ["nothing of what it held was handed out again"];
}
