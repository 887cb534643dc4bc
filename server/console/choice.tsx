/** One of some values, or any: a field of a filter. */
export function Choice(props: {
  name: string;
  label?: string;
  given: string | undefined;
  options: readonly (readonly [value: string, words: string])[];
}) {
  return (
    <label>
      <span>{props.label ?? props.name}</span>
      <select name={props.name}>
        <option value="">any</option>
        {props.options.map(([value, words]) => (
          <option value={value} selected={value === props.given}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}
