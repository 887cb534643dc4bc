const HEIGHT = 64;

export interface Bar {
  /** 0 is the leftmost. */
  slot: number;
  title: string;
  /** From below, each a tone and how many. */
  pieces: readonly (readonly [tone: string, n: number])[];
}

/** Bars over time, with what they say as one sentence below. `bar` and `gap` in units of the picture. */
export function BarChart(props: {
  bars: readonly Bar[];
  slots: number;
  bar: number;
  gap: number;
  said: string;
}) {
  const { bars, slots, bar, gap, said } = props;
  const width = slots * (bar + gap);
  const most = Math.max(...bars.map(({ pieces }) => pieces.reduce((sum, [, n]) => sum + n, 0)));
  return (
    <figure>
      <svg
        class="chart"
        role="img"
        aria-label={said}
        viewBox={`0 0 ${width} ${HEIGHT}`}
        width={width}
        height={HEIGHT}
      >
        <path class="axis" d={`M0 ${HEIGHT - 0.5}H${width}`} />
        {bars.map(({ slot, title, pieces }) => (
          <g>
            <title>{title}</title>
            {stacked(pieces, most).map(({ tone, top, height }) => (
              <rect class={tone} x={slot * (bar + gap)} y={top} width={bar} height={height} />
            ))}
          </g>
        ))}
      </svg>
      <figcaption class="faint">{said}</figcaption>
    </figure>
  );
}

function stacked(pieces: Bar["pieces"], most: number) {
  let top = HEIGHT - 1;
  return pieces
    .filter(([, n]) => n > 0)
    .map(([tone, n]) => {
      const height = Math.max(2, (n / most) * (HEIGHT - 4));
      top -= height;
      return { tone, top, height };
    });
}
