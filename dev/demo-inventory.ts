import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import type { EntityInput, Holdfast } from "../client/index.ts";
import type { RequestDetail } from "../contracts/inbox.ts";
import { readLine } from "../domain/inventory-line.ts";
import { registryNames, registryOf } from "../domain/inventory-registries.ts";
import type { InventoryFigures } from "./demo-inventory-verdict.ts";
import { countNamed, installedPackages, type PackageEntity } from "./demo-packages.ts";

/**
 * An inventory of what is installed: taken in and applied by a rule, taken in again with nothing to do,
 * and some changes as a plan of which a part is approved.
 */

const TENANT = "packages";
const BRANCH = "main";
const WAIT_MS = 120_000;
/** Packages that are changed, and the first of them that are approved. */
const CHANGED = 5;
const APPROVED = 3;
const NODE_MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));

export interface DemoInventoryOptions {
  /** NDJSON of entities instead of the installed packages. */
  file?: string | undefined;
  signal: AbortSignal;
  say: (line: string) => void;
}

export function inventoried(
  holdfast: Holdfast,
  options: DemoInventoryOptions,
): Promise<InventoryFigures> {
  return options.file === undefined
    ? ofPackages(holdfast, options)
    : ofFile(holdfast, options.file, options);
}

async function ofPackages(
  holdfast: Holdfast,
  options: DemoInventoryOptions,
): Promise<InventoryFigures> {
  const { say } = options;
  const entities = await installedPackages(NODE_MODULES);
  say(`\nAn inventory of ${count(entities.length)} installed packages:`);
  say("each release with its package, licence, people and dependencies by value.");
  await letRulesDecide(holdfast, "packages");
  const first = await taken(holdfast, "applied by a rule", options, (more) =>
    holdfast.inbox.ingest(entities, { ...more, messageId: "first" }),
  );
  const found = await objectsOf(holdfast);
  const counts = Object.entries(found).map(([type, n]) => `${count(n)} ${type}`);
  say(`  holdfast inventory list: ${counts.join(", ")}`);

  const before = await changeSets(holdfast);
  const again = await taken(holdfast, "sent again", options, (more) =>
    holdfast.inbox.ingest(entities, { ...more, messageId: "again" }),
  );
  const changeSetsAgain = (await changeSets(holdfast)) - before;
  const { plan, notAsDecided } = await planned(holdfast, entities, options);
  return {
    sent: entities.length,
    states: first.states,
    rejected: first.rejected,
    again: again.states,
    changeSetsAgain,
    expected: countNamed(entities),
    found,
    plan,
    notAsDecided,
  };
}

async function ofFile(
  holdfast: Holdfast,
  file: string,
  options: DemoInventoryOptions,
): Promise<InventoryFigures> {
  options.say(`\nAn inventory of the entities in ${file}:`);
  await letRulesDecide(holdfast, await registryFor(file));
  const send = (messageId: string) => (more: { tenant: string; source: string }) =>
    holdfast.inbox.ingestLines(createReadStream(file), { ...more, messageId });
  const first = await taken(holdfast, "applied by a rule", options, send("first"));
  const counts = Object.entries(await objectsOf(holdfast)).map(
    ([type, n]) => `${count(n)} ${type}`,
  );
  options.say(`  holdfast inventory list: ${counts.join(", ")}`);
  await taken(holdfast, "sent again", options, send("again"));
  const { received, states, rejected } = first;
  return { sent: received, states, rejected, notAsDecided: [] };
}

async function letRulesDecide(holdfast: Holdfast, registry: string): Promise<void> {
  await holdfast.inventory.settings.set(TENANT, {
    registry,
    mode: "auto",
    rules: [
      {
        name: "what is found",
        enabled: true,
        when: { kinds: ["create", "update"] },
        decision: "apply",
      },
    ],
  });
}

/** The registry that knows the first line. */
async function registryFor(file: string): Promise<string> {
  let line = "";
  for await (const part of createReadStream(file, "utf8")) {
    line += part as string;
    if (line.includes("\n") || line.length > 1024 * 1024) break;
  }
  line = line.split("\n", 1)[0]!;
  const known = registryNames({}).find(
    (name) => readLine(registryOf({}, name), line).read === "entity",
  );
  if (known !== undefined) return known;
  throw new Error(`${file}: the first line is no entity of any registry`);
}

async function taken(
  { inbox }: Holdfast,
  what: string,
  { signal, say }: DemoInventoryOptions,
  send: (more: { tenant: string; source: string }) => Promise<{ request: string }>,
): Promise<RequestDetail> {
  const began = performance.now();
  const { request } = await send({ tenant: TENANT, source: "demo" });
  const takenMs = performance.now() - began;
  const detail = await inbox.wait(request, { signal, timeoutMs: WAIT_MS });
  const seconds = (performance.now() - began) / 1_000;
  const states = Object.entries(detail.states).map(([state, n]) => `${count(n ?? 0)} ${state}`);
  const rejected = detail.rejected > 0 ? `, ${count(detail.rejected)} rejected` : "";
  say(
    `  ${what}: in the inbox after ${Math.round(takenMs)} ms, done after ${seconds.toFixed(1)} s: ` +
      `${states.join(", ")}${rejected}`,
  );
  return detail;
}

/** Some packages are said to be deprecated; somebody looks, and agrees with a part. */
async function planned(
  holdfast: Holdfast,
  entities: readonly PackageEntity[],
  { signal, say }: DemoInventoryOptions,
): Promise<Pick<InventoryFigures, "plan" | "notAsDecided">> {
  const names = [...new Set(entities.map(({ release }) => release.package.name))].slice(0, CHANGED);
  const changed = names.map((name): EntityInput => {
    const ecosystem = { name: "npm" };
    return {
      timestamp: "2026-01-02T00:00:00Z",
      package: { name, ecosystem, deprecated: true, labels: { successor: "none" } },
    };
  });
  const { id } = await holdfast.plan.submit(changed, { tenant: TENANT });
  const view = await holdfast.plan.planned(id, { signal, everyMs: 100 });
  const { create, update, delete: removed } = view.changes;
  say(`\nholdfast plan show ${id}`);
  say(`  ${view.shown}: +${create} ~${update} -${removed}, ${view.counts.unchanged} unchanged`);
  const { items } = await holdfast.plan.changes(id);
  for (const { id: entity, title, changes } of items) {
    say(`# ${title}  [${entity}]`);
    for (const { kind, type, identity, before, after } of changes) {
      if (kind === "noop") continue;
      say(`  ~ ${type} name=${shown(identity["name"])}`);
      for (const field of Object.keys({ ...before, ...after })) {
        say(`      ${field}: ${shown(before[field])} -> ${shown(after[field])}`);
      }
    }
  }
  const ids = items.map((item) => item.id);
  const approved = await holdfast.plan.approve(id, { entities: ids.slice(0, APPROVED) });
  const rejected = await holdfast.plan.reject(id, {
    entities: ids.slice(APPROVED),
    reason: "still needed",
  });
  const last = await holdfast.plan.wait(id, { signal, everyMs: 100 });
  say(
    `  ${approved.decided} approved, ${rejected.decided} rejected: ${last.counts.applied} applied, plan ${last.state}`,
  );
  const notAsDecided: string[] = [];
  for (const [no, name] of names.entries()) {
    const identity = { name, ecosystem: { name: "npm" } };
    const { attributes } = await holdfast.inventory.get({
      tenant: TENANT,
      type: "package",
      identity,
    });
    if ((attributes["deprecated"] === true) !== no < APPROVED) {
      notAsDecided.push(`package ${name} is ${no < APPROVED ? "not changed" : "changed"}`);
    }
  }
  const { applied } = last.counts;
  const plan = {
    changed: names.length,
    approved: approved.decided,
    applied,
    rejected: rejected.decided,
  };
  return { plan, notAsDecided };
}

async function objectsOf({ inventory }: Holdfast): Promise<Record<string, number>> {
  const types = await inventory.types({ tenant: TENANT, branch: BRANCH });
  return Object.fromEntries(types.map(({ type, objects }) => [type, objects]));
}

async function changeSets({ db }: Holdfast): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from holdfast.change_sets c
      where exists (select from holdfast.entities e where e.id = c.entity and e.tenant = $1)`,
    [TENANT],
  );
  return rows[0]!.n;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}
