import type { SearchBackend, SearchObject } from "../../contracts/search.ts";

/** Four methods over a map: as little as a backend may be. */
export interface MemoryBackend extends SearchBackend {
  /** What it holds, by `schema/type/key`. */
  readonly held: ReadonlyMap<string, SearchObject>;
  /** Calls so far, in words. */
  readonly calls: string[];
  /** Fences of all writes so far, in order. */
  readonly fences: bigint[];
  /** Called before each method does anything; may wait, may throw. */
  before: (method: string, signal: AbortSignal) => void | Promise<void>;
}

const idOf = ({ schema, type, key }: Pick<SearchObject, "schema" | "type" | "key">) =>
  `${schema}/${type}/${key}`;

export function memoryBackend(): MemoryBackend {
  const held = new Map<string, SearchObject>();
  const calls: string[] = [];
  const fences: bigint[] = [];
  const backend: MemoryBackend = {
    held,
    calls,
    fences,
    before: () => undefined,
    async search({ text, limit }, { schema, types, signal }) {
      await backend.before("search", signal);
      const wanted = text.toLowerCase();
      const items = [...held.values()].flatMap((object) => {
        if (object.schema !== schema || !types.includes(object.type)) return [];
        const best = object.fields
          .filter(({ value }) => value.toLowerCase().includes(wanted))
          .toSorted((a, b) => a.weight - b.weight)[0];
        if (!best) return [];
        return [{ type: object.type, key: object.key, field: best.field, value: best.value }];
      });
      return { items: items.slice(0, limit), total: items.length };
    },
    async cache(objects, { fence, signal }) {
      await backend.before("cache", signal);
      calls.push(`cache ${objects.length}`);
      fences.push(fence);
      for (const object of objects) held.set(idOf(object), structuredClone(object));
    },
    async remove(objects, { fence, signal }) {
      await backend.before("remove", signal);
      calls.push(`remove ${objects.length}`);
      fences.push(fence);
      for (const object of objects) held.delete(idOf(object));
    },
    async clear({ schema, types }, { fence, signal }) {
      await backend.before("clear", signal);
      calls.push(`clear ${types?.join(" ") ?? "all"}`);
      fences.push(fence);
      for (const [id, object] of held) {
        if (object.schema !== schema) continue;
        if (!types || types.includes(object.type)) held.delete(id);
      }
    },
  };
  return backend;
}
