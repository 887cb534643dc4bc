/** JSON of inventories for those who print and read it: integers beyond 2^53 are exact. */
export { canonicalJson, exactJson, parseExactJson } from "../domain/exact-json.ts";
