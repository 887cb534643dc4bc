/**
 * Whether planning takes turns with taking in, decided from how far streams lag: from the high mark on,
 * until the low mark is reached. Planning is slowed down, never stopped.
 */
export interface Pressure {
  /** What a stream lags, in messages. Answers whether this changed the pressure, and to what. */
  observe(stream: string, lag: number, marks: Marks): "up" | "down" | undefined;
  /** How long planning waits before its next batch, ms; 0: it goes on. */
  pauseMs(): number;
}

interface Marks {
  /** 0: no lag matters. */
  highLag: number;
  lowLag: number;
}

/** Planning gets one batch in this time, whatever the lag. */
const TURN_MS = 1_000;

export function createPressure(): Pressure {
  const lagging = new Set<string>();
  return {
    observe(stream, lag, { highLag, lowLag }) {
      const before = lagging.has(stream);
      const now = highLag > 0 && (before ? lag > lowLag : lag >= highLag);
      if (now === before) return undefined;
      if (now) lagging.add(stream);
      else lagging.delete(stream);
      return now ? "up" : "down";
    },
    pauseMs: () => (lagging.size > 0 ? TURN_MS : 0),
  };
}
