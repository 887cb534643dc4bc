/**
 * A column of many rows as one parameter, which `string_to_table` takes apart again: a driver would
 * quote an array of JSON character by character. No value may hold a line feed; JSON never does.
 * Undefined stands as nothing, and is null where the statement says that nothing is null.
 */
export function column(values: readonly (string | undefined)[]): string {
  return values.join("\n");
}
