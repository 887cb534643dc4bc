import { connect, type SearchQuery } from "../client/index.ts";
import { median, percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { timed } from "./in-turn.ts";
import { fillIndex } from "./search-by-hand.ts";
import {
  createDevices,
  deviceOf,
  devices,
  insertStaged,
  ROWS_OF_ONE,
  SEARCH,
  stage,
  TENANTS,
  type Device,
} from "./search-objects.ts";

const LOOKUPS: Record<string, (device: Device) => SearchQuery> = {
  partial: ({ serial }) => ({ text: serial.slice(2, 11) }),
  exact: ({ name }) => ({ text: name, lookup: "exact" }),
  "starts-with": ({ serial }) => ({ text: serial.slice(0, 8), lookup: "starts-with" }),
  "ends-with": ({ serial }) => ({ text: serial.slice(4), lookup: "ends-with" }),
  regex: ({ serial }) => ({ text: `^${serial.slice(0, 7)}[0-9A-F]+$`, lookup: "regex" }),
  words: ({ comments }) => ({ text: `"${phrase(comments)}"`, lookup: "words" }),
  "partial, an address": ({ address }) => ({ text: address }),
};

/** How long a caller of one tenant waits for a page, over a million values. */
export async function measureQuery(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: 2, config: { search: SEARCH } });
  frame.atEnd(() => holdfast.close());
  const { db } = holdfast;
  const count = (frame.quick ? 20_000 : 1_000_000) / ROWS_OF_ONE;
  await createDevices(db, "captured");
  await holdfast.search.install({ schemas: ["captured"] });
  frame.note(`filling the index with ${(count * ROWS_OF_ONE).toLocaleString("en")} rows`);
  await stage(db, devices(1, count));
  await insertStaged(db, "captured");
  await db.query("truncate holdfast.index_marks");
  await db.query("vacuum analyze captured.devices");
  await fillIndex(db, "captured");

  const restricted = holdfast.as({ actor: "bench", tenants: ["tenant-3"] });
  for (const [lookup, asking] of Object.entries(LOOKUPS)) {
    const took: number[] = [];
    const found: number[] = [];
    for (let no = 0; no < (frame.quick ? 20 : 200) + WARM; no++) {
      const device = chosen(count, no);
      const query = asking(device);
      const ms = await timed(async () => {
        const { items, total } = await restricted.search.query(query);
        if (!items.some(({ key }) => key === String(device.id))) {
          throw new Error(`${lookup}: device ${device.id} is not found by ${query.text}`);
        }
        found.push(total);
      });
      if (no >= WARM) took.push(ms);
    }
    const of = `${(count * ROWS_OF_ONE).toLocaleString("en")} rows, one tenant of ${TENANTS}`;
    frame.measure(`${lookup}, p95, ${of}`, percentile(took, 95), "ms", { below: 50 });
    frame.note(`${lookup} finds ${median(found)} objects, p50 ${median(took).toFixed(1)} ms`);
  }
  await frame.close();
}

const WARM = 20;

/** Devices of the tenant with something to be found by, here and there in the table. */
function chosen(count: number, no: number): Device {
  for (let place = no * 7_919; ; place++) {
    const device = deviceOf(3 + TENANTS * (place % Math.floor(count / TENANTS)));
    if (phrase(device.comments) !== "") return device;
  }
}

/** The longest run of plain words in a comment; empty where it is too short to be selective. */
function phrase(comments: string): string {
  // The first and the last one may be cut.
  const runs = comments.match(/(?<=\s)[a-z]{3,}(?: [a-z]{3,}){2,}(?=\s)/gi) ?? [];
  const longest = runs.toSorted((a, b) => b.length - a.length)[0] ?? "";
  return longest.length < SELECTIVE ? "" : longest;
}

const SELECTIVE = 25;
