import { afterAll, beforeAll, expect, test } from "vitest";
import { openDb, type Db } from "../../db/pool.ts";
import { worked } from "../support/planning.ts";
import { setupCli, type Ran } from "./support.ts";

const cli = setupCli();
let db: Db;
beforeAll(() => {
  db = openDb({ url: cli.databaseUrl, size: 2 });
});
afterAll(() => db.close());

const plan = (...args: string[]) => cli.runHere(["plan", ...args]);
const site = (name: string, status = "active") => ({
  object_type: "site",
  entity: { name, status },
});
const lines = (...values: unknown[]) => values.map((one) => `${JSON.stringify(one)}\n`).join("");

/** Of a device that nobody has sent. */
const ORPHAN = {
  object_type: "interface",
  entity: { name: "e1", type: "other", device: { name: "none", site: { name: "fra1" } } },
};

/** Submits, and plans as a worker does. */
async function submitted(...entities: unknown[]): Promise<string> {
  const ran = await cli.runHere(["plan", "submit", "-"], { input: lines(...entities) });
  expect([ran.err, ran.code]).toEqual(["", 0]);
  const [, id] = /^accepted (\S+): /.exec(ran.out)!;
  await worked(db, id!, {});
  return id!;
}

async function hashOf(id: string): Promise<string> {
  return (await plan("show", id, "--json")).json<{ hash: string }>().hash;
}

/** Without what differs from run to run. */
const tame = ({ out }: Ran) =>
  out
    .replaceAll(/[0-9a-f]{64}/g, "HASH")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID")
    .replaceAll(/\[\d+\]/g, "[N]")
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ/g, "TIME");

test("a plan is shown object by object, before and after, with what to do next", async () => {
  const first = await submitted(site("fra1"));
  await plan("approve", first, "--hash", await hashOf(first));
  await worked(db, first, {});
  const id = await submitted(
    site("fra1", "planned"),
    { object_type: "device_type", entity: { model: "C9300", manufacturer: { name: "Cisco" } } },
    ORPHAN,
    { object_type: "site", entity: { name: "fra2", colour: "red" } },
  );
  expect(tame(await plan("show", id))).toMatchInlineSnapshot(`
    "# Site fra1 modified  [N]
      ~ site name="fra1"
          status = "active" -> "planned"

    # Device type C9300 created  [N]
      + manufacturer name="Cisco"
          name = "Cisco"
      + device_type model="C9300" manufacturer={"name":"Cisco"}
          manufacturer = {"name":"Cisco"}
          model        = "C9300"

    # Interface e1 discovered  [N] failed
      there is no such device, and device_type is needed to make it: give device_type, or send the device itself

    # Site fra2 created  [N]
      warning: site.colour is no field of site: dropped
      + site name="fra2"
          name = "fra2"

    Plan: 3 to create, 1 to change, 0 to remove.
    Entities: 3 waiting, 1 failed.
    Plan ID: waiting for a decision.
    It waits for a decision until TIME:
      holdfast plan approve ID --hash HASH
    "
  `);
});

test("the exit code says what there is: 0 nothing, 10 changes that wait, 1 something failed", async () => {
  const code = async (id: string) => (await plan("show", id, "--detailed-exitcode")).code;
  const id = await submitted(site("lon1"));
  expect(await code(id)).toBe(10);
  expect((await plan("show", id)).code).toBe(0);
  expect((await plan("approve", id, "--hash", await hashOf(id))).code).toBe(0);
  expect(await code(id)).toBe(10);
  await worked(db, id, {});
  expect(await code(id)).toBe(0);
  const same = await submitted(site("lon1"));
  expect((await plan("show", same)).out).toContain("No changes.");
  expect(await code(same)).toBe(0);
  expect(await code(await submitted(ORPHAN))).toBe(1);
});

test("an approval by hash is of the plan that was seen, and a part may be rejected", async () => {
  const id = await submitted(site("par1"), site("par2"));
  const seen = await hashOf(id);
  const { entities } = (await plan("show", id, "--json")).json<{ entities: { id: string }[] }>();
  const reject = await plan("reject", id, "--entity", entities[1]!.id, "--entity", "999999");
  expect(reject.code).toBe(3);
  expect(reject.out).toBe("rejected 1 entity\n");
  expect(reject.err).toBe(`not 999999: is no entity of plan ${id}`);
  const stale = await plan("approve", id, "--hash", seen);
  const now = await hashOf(id);
  expect([stale.code, stale.err]).toEqual([
    3,
    `error: the plan is another now (it is ${now}): look at it again`,
  ]);
  const approved = await plan("approve", id, "--hash", now, "--reason", "ticket 7");
  expect([approved.code, approved.out]).toEqual([0, "approved 1 entity\n"]);
  await worked(db, id, {});
  const shown = await plan("show", id);
  expect(shown.out).toContain("Entities: 1 applied, 1 rejected.");
  const late = await plan("approve", id, "--hash", now);
  expect([late.code, late.err]).toEqual([3, `error: plan ${id} is completed: submit a new one`]);
});

test("what is asked wrongly is named with its flag, and ends with 2", async () => {
  const id = await submitted(site("ams1"));
  for (const [args, said] of [
    [["submit", "/nowhere"], "there is no such file"],
    [["submit", "-"], "a plan needs at least one"],
    [["submit", "-", "--mode", "now"], "Allowed choices are review, auto"],
    [["submit", "-", "--expires-in", "0"], "--expires-in"],
    [["show", "nonsense"], "id: "],
    [["show", "01990f3e-0000-7000-8000-000000000000"], "01990f3e"],
    [["approve", id, "--hash", "abc"], "--hash: must be the hash of a plan"],
    [["approve", id], "--hash: is needed"],
    [["approve", id, "--entity", "x", "--hash", "0".repeat(64)], "--entity: must be the id"],
    [["approve", id, "--entity", "1"], "--hash: is needed"],
  ] as const) {
    const ran = await plan(...args);
    expect([args, ran.code]).toEqual([args, 2]);
    expect(ran.err).toContain(said);
  }
  const bad = await cli.runHere(["plan", "submit", "-"], { input: `${lines(site("a"))}oops\n` });
  expect([bad.code, bad.err]).toEqual([2, expect.stringMatching(/^error: line 2: cannot be read/)]);
});

test("a repeat with its key says so, and other content is refused with 3", async () => {
  const submit = (name: string) =>
    cli.runHere(["plan", "submit", "-", "--key", "k"], { input: lines(site(name)) });
  expect((await submit("ber1")).code).toBe(0);
  expect((await submit("ber1")).out).toContain('key "k" was used for the same content: plan ');
  expect((await submit("ber2")).code).toBe(3);
});
