// A state is a word, a shape and a colour; no two of one colour share a shape.
const SHAPES = {
  ring: <circle cx="6" cy="6" r="4" />,
  dot: <circle cx="6" cy="6" r="4" class="full" />,
  check: <path d="M2 6.5 5 9.5 10 3" />,
  cross: <path d="M3 3 9 9M9 3 3 9" />,
  slash: <path d="M6 2a4 4 0 1 0 .01 0M3.4 8.6 8.6 3.4" />,
  bars: <path d="M4 2.5v7M8 2.5v7" />,
  clock: <path d="M6 2a4 4 0 1 0 .01 0M6 3.8V6l1.7 1.1" />,
  triangle: <path d="M6 2 10.5 10h-9z" />,
  diamond: <path d="M6 1.5 10.5 6 6 10.5 1.5 6z" />,
  dash: <path d="M2.5 6h7" />,
  plus: <path d="M6 2v8M2 6h8" />,
  minus: <path d="M2 6h8" />,
  wave: <path d="M1.5 7c1.5-3 3-3 4.5-1s3 2 4.5-1" />,
} as const;

const STATES: Record<string, [shape: keyof typeof SHAPES, tone: string]> = {
  accepted: ["ring", "quiet"],
  running: ["dot", "busy"],
  completed: ["check", "good"],
  failed: ["cross", "bad"],
  cancelled: ["slash", "quiet"],
  cancelling: ["slash", "warn"],
  paused: ["bars", "warn"],
  "waiting for a worker": ["triangle", "warn"],
  "waiting for a decision": ["diamond", "warn"],
  deferred: ["clock", "quiet"],
  stalled: ["triangle", "bad"],
  // Items
  open: ["ring", "quiet"],
  succeeded: ["check", "good"],
  unchanged: ["dash", "good"],
  superseded: ["dash", "quiet"],
  blocked: ["diamond", "warn"],
  lost: ["triangle", "bad"],
  // Deliveries
  pending: ["ring", "quiet"],
  delivered: ["check", "good"],
  dead: ["cross", "bad"],
  // Pull workers
  online: ["check", "good"],
  offline: ["dash", "quiet"],
  // What became of a post
  late: ["clock", "warn"],
  // Indexes and lanes of search
  works: ["check", "good"],
  failing: ["cross", "bad"],
  "follows its table": ["check", "good"],
  "not installed": ["ring", "warn"],
  "not as it should be": ["triangle", "bad"],
  building: ["dot", "busy"],
  // What a change does to an object, and to a field
  create: ["plus", "good"],
  update: ["wave", "warn"],
  delete: ["minus", "bad"],
  created: ["plus", "good"],
  updated: ["wave", "warn"],
  deleted: ["minus", "bad"],
  "as it is": ["ring", "quiet"],
  added: ["plus", "good"],
  changed: ["wave", "warn"],
  removed: ["minus", "bad"],
  // Entities
  queued: ["ring", "quiet"],
  planning: ["dot", "busy"],
  applying: ["dot", "busy"],
  applied: ["check", "good"],
  "no changes": ["dash", "good"],
  ignored: ["slash", "quiet"],
  errored: ["triangle", "bad"],
  "waits to be tried again": ["clock", "warn"],
  "waits for a decision": ["diamond", "warn"],
  "approved, to be applied": ["dot", "busy"],
  held: ["bars", "warn"],
  rejected: ["cross", "bad"],
  stale: ["triangle", "warn"],
  // Log levels
  debug: ["dash", "quiet"],
  info: ["ring", "quiet"],
  warn: ["triangle", "warn"],
  error: ["cross", "bad"],
};

/** Word, shape and colour of a state, an outcome or a log level. */
export function StateBadge({ state, n }: { state: string; n?: string }) {
  const [shape, tone] = STATES[state] ?? ["ring", "quiet"];
  return (
    <span class={`state ${tone}`}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        {SHAPES[shape]}
      </svg>
      {n === undefined ? state : `${n} ${state}`}
    </span>
  );
}
