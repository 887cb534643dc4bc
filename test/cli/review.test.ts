import { afterAll, beforeEach, expect, test } from "vitest";
import { connect, type Holdfast } from "../../client/index.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import { loadRegistry } from "../../domain/registry.ts";
import { NETWORK_REGISTRY } from "../../domain/registries/network.ts";
import { setupCli } from "./support.ts";

const cli = setupCli();
let holdfast: Holdfast;
let tenant: string;
let tenants = 0;
beforeEach(() => {
  holdfast ??= connect({ databaseUrl: cli.databaseUrl, poolSize: 2 });
  tenant = `t${++tenants}`;
});
afterAll(() => holdfast.close());

const registry = loadRegistry(NETWORK_REGISTRY);
const review = (...args: string[]) => cli.runHere(["review", ...args]);
const planDue = () =>
  planAndApply(holdfast.db, registry, { tenant, branch: "main" }, { mode: "plan-only", rules: [] });

/** Sites and one interface without a device, taken in and planned; ids, oldest first. */
async function taken(...sites: string[]): Promise<string[]> {
  const entities = sites.map((name) => ({ object_type: "site", entity: { name } }));
  await holdfast.inbox.ingest(entities, { tenant });
  await planDue();
  const { items } = await holdfast.review.list({ tenant, order: "oldest" });
  return items.map(({ id }) => id);
}

test("what waits is listed, narrowed and paged, and one is shown with what would change", async () => {
  const [a, b] = await taken("a1", "b1");
  const list = await review("list", "--tenant", tenant);
  expect([list.code, list.err]).toEqual([0, ""]);
  expect(list.out).toMatch(/^ID +STATE +CHANGES +TYPE +BRANCH +ACCEPTED +WHAT\n/);
  expect(list.out).toMatch(new RegExp(`\n${b} +open +\\+1 ~0 -0 +site +main .* Site b1 created\n`));
  const page = await review("list", "--tenant", tenant, "--limit", "1");
  expect(page.err).toContain(`--after ${b}`);
  const next = await review("list", "--tenant", tenant, "--limit", "1", "--after", b!);
  expect(next.out).toContain("Site a1 created");
  const none = await review("list", "--tenant", tenant, "--type", "device");
  expect(none.out + none.err).toContain("nothing found");
  const shown = await review("show", a!);
  expect(shown.out).toMatch(/what +Site a1 created/);
  expect(shown.out).toContain('  + site name="a1"\n      name = "a1"\n');
  expect((await review("show", a!, "--json")).json()).toMatchObject({
    id: a,
    changeSets: [{ changes: [{ kind: "create", type: "site" }] }],
  });
});

test("ids are decided about one by one: what stays as it is says why, and ends with 3", async () => {
  const [a, b] = (await taken("a1", "b1")) as [string, string];
  const { planHash } = await holdfast.review.get(a);
  const stale = "0".repeat(64);
  const approve = await review(
    "approve",
    a,
    b,
    "--tenant",
    tenant,
    "--hash",
    planHash!,
    "--hash",
    stale,
  );
  expect([approve.code, approve.out, approve.err]).toEqual([
    3,
    "approved 1 entity\n",
    `not ${b}: its plan is another now: look again`,
  ]);
  const reject = await review("reject", b, "--tenant", tenant, "--reason", "not ours");
  expect([reject.code, reject.out]).toEqual([0, "rejected 1 entity\n"]);
  expect((await review("show", b)).out).toMatch(/why +rejected by \S+: not ours\n/);
  const again = await review("reopen", b, "--tenant", tenant, "--json");
  expect(again.json()).toEqual({ decided: 1, refused: [] });
});

test("a filter decides only with --all, directly or as an operation", async () => {
  await taken("a1", "b1", "c1");
  const bare = await review("approve", "--tenant", tenant, "--text", "a1");
  expect([bare.code, bare.err]).toEqual([2, expect.stringContaining("--all: is needed")]);
  expect((await review("approve", "--tenant", tenant)).code).toBe(2);
  const one = await review("approve", "--all", "--tenant", tenant, "--text", "a1");
  expect([one.code, one.out]).toEqual([0, "approved 1 entity\n"]);
  expect(await planDue()).toMatchObject({ applied: 1 });
  const keyed = await review(
    "reject",
    "--all",
    "--tenant",
    tenant,
    "--operation-key",
    "k",
    "--json",
  );
  expect(keyed.json()).toMatchObject({ kind: "review", total: 2, existing: false });
  expect((await holdfast.review.list({ tenant })).items).toHaveLength(2);
  const nothing = await review("reopen", "--all", "--tenant", tenant, "--operation-key", "other");
  expect([nothing.code, nothing.err]).toEqual([3, expect.stringContaining("finds nothing")]);
});

test("what is asked wrongly is named, and ends with 2", async () => {
  const [a] = (await taken("a1")) as [string];
  for (const [args, said] of [
    [["approve", a, "--all"], "--all: goes without ids"],
    [["approve", a, "--type", "site"], "goes without ids"],
    [["approve", "x"], "must be the id of an entity"],
    [["approve", a, a], "names one id twice"],
    [["approve", a, "--hash", "abc"], "must be the hash of a plan"],
    [["approve", a, "--hash", "0".repeat(64), "--hash", "1".repeat(64)], "one hash for each"],
    [["list", "--state", "odd"], "--state"],
    [["list", "--limit", "0"], "limit"],
    [["show", "999999"], "999999"],
  ] as const) {
    const ran = await review(...args);
    expect([args, ran.code]).toEqual([args, 2]);
    expect(ran.err).toContain(said);
  }
});
