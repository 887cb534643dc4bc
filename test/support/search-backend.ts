import { describe, expect, test } from "vitest";
import type { SearchBackend, SearchObject } from "../../contracts/search.ts";

/**
 * What every external backend has to hold to, whatever it is made of. `make` gives an empty one;
 * `settle` waits until it shows what it was told, for those that show it later.
 */
export function backendConforms(
  name: string,
  make: () => SearchBackend | Promise<SearchBackend>,
  settle: (backend: SearchBackend) => Promise<void> = () => Promise.resolve(),
): void {
  describe(`${name} as a search backend`, () => {
    const city = (key: string, value: string, schema = "main", type = "city"): SearchObject => ({
      schema,
      type,
      key,
      fields: [
        { field: "name", weight: 100, kind: "text", value },
        { field: "notes", weight: 5_000, kind: "prose", value: `known for ${value}` },
      ],
    });

    async function setup() {
      const backend = await make();
      let fence = 0n;
      const { signal } = new AbortController();
      const next = () => ({ fence: ++fence, signal });
      return {
        cache: (...objects: SearchObject[]) => backend.cache(objects, next()),
        remove: (...objects: SearchObject[]) =>
          backend.remove(
            objects.map(({ schema, type, key }) => ({ schema, type, key })),
            next(),
          ),
        clear: (schema: string, types?: string[]) =>
          backend.clear({ schema, ...(types && { types }) }, next()),
        /** Keys found, in no order. */
        async found(text: string, { schema = "main", types = ["city", "person"] } = {}) {
          await settle(backend);
          const { items } = await backend.search(
            { text, lookup: "partial", limit: 50 },
            { schema, types, signal },
          );
          return items.map(({ type, key }) => `${type} ${key}`).toSorted();
        },
      };
    }

    test("what is cached is found, once per object", async () => {
      const { cache, found } = await setup();
      await cache(city("1", "Uruk"), city("2", "Ur"));
      expect(await found("uruk")).toEqual(["city 1"]);
      expect(await found("ur")).toEqual(["city 1", "city 2"]);
    });

    test("an object that is cached again is what it is now, and nothing of before", async () => {
      const { cache, found } = await setup();
      await cache(city("1", "Uruk"));
      await cache(city("1", "Lagash"));
      await cache(city("1", "Lagash"));
      expect(await found("lagash")).toEqual(["city 1"]);
      expect(await found("uruk")).toEqual([]);
    });

    test("what is removed is not found, and may be removed again", async () => {
      const { cache, remove, found } = await setup();
      await cache(city("1", "Uruk"), city("2", "Uruk"));
      await remove(city("1", ""), city("unheard of", ""));
      await remove(city("1", ""));
      expect(await found("uruk")).toEqual(["city 2"]);
    });

    test("schemas and types keep apart, also where keys are the same", async () => {
      const { cache, remove, found } = await setup();
      await cache(
        city("1", "Uruk"),
        city("1", "Uruk", "branch"),
        city("1", "Uruk", "main", "person"),
      );
      expect(await found("uruk", { schema: "branch" })).toEqual(["city 1"]);
      expect(await found("uruk", { types: ["person"] })).toEqual(["person 1"]);
      await remove(city("1", "", "branch"));
      expect(await found("uruk", { schema: "branch" })).toEqual([]);
      expect(await found("uruk")).toEqual(["city 1", "person 1"]);
    });

    test("clear forgets types of one schema, or all of it, and may be repeated", async () => {
      const { cache, clear, found } = await setup();
      await cache(
        city("1", "Uruk"),
        city("1", "Uruk", "branch"),
        city("2", "Uruk", "main", "person"),
      );
      await clear("main", ["city"]);
      await clear("main", ["city"]);
      expect(await found("uruk")).toEqual(["person 2"]);
      await clear("main");
      expect(await found("uruk")).toEqual([]);
      expect(await found("uruk", { schema: "branch" })).toEqual(["city 1"]);
    });

    test("odd characters and long values are values like any other", async () => {
      const { cache, remove, found } = await setup();
      const odd = city(`a/b"c'd\\e%_\u{1F3DB}`, `100%_\\ "quoted" \u{1F3DB}`);
      await cache(odd, city("long", `${"x".repeat(100_000)} needle`));
      expect(await found("100%_\\")).toEqual([`city ${odd.key}`]);
      expect(await found("needle")).toEqual(["city long"]);
      await remove(odd);
      expect(await found("100%_\\")).toEqual([]);
    });

    test("an empty call is answered", async () => {
      const { cache, remove, found } = await setup();
      await cache();
      await remove();
      expect(await found("anything")).toEqual([]);
    });
  });
}
