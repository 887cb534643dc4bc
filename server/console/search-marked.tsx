import type { SearchHit } from "../../contracts/search.ts";

/** A value with what was found in it marked. */
export function Marked({ value, highlights }: Pick<SearchHit, "value" | "highlights">) {
  let at = 0;
  const stretches = highlights.map(([from, to]) => {
    const before = value.slice(at, from);
    at = to;
    return (
      <>
        {before}
        <mark class="mark">{value.slice(from, to)}</mark>
      </>
    );
  });
  return (
    <>
      {stretches}
      {value.slice(at)}
    </>
  );
}
