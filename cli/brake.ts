import { Argument, type Command } from "commander";
import { withHoldfast } from "./connection.ts";
import { examples, JSON_FLAG } from "./declare.ts";
import { moment, printPage, say } from "./output.ts";
import { viewBrake } from "./row-views.ts";

const TARGETS = ["all", "kind", "tenant", "scope", "queue", "target"] as const;

export function register(program: Command): void {
  const brake = program
    .command("brake")
    .description("hold back everything of a kind, tenant or bank, for incidents");

  const set = brake
    .command("set")
    .description("set one: running work stops at its next page, nothing new starts")
    .addArgument(appliesTo())
    .argument("[name]", "the kind, the tenant, tenant/bank for a scope; nothing for all")
    .requiredOption("--reason <text>", "why; others will read it")
    .option(...JSON_FLAG);
  examples(
    set,
    'holdfast brake set all --reason "disk is filling up"',
    'holdfast brake set scope default/handbook --reason "wrong documents"',
  ).action(async (target: Target, name = "", { json, reason }) => {
    const brakes = await withHoldfast((holdfast) => holdfast.brake.set(target, name, reason));
    await answer(brakes.map(viewBrake), json, `brake on ${label(target, name)} is set`);
  });

  const lift = brake
    .command("lift")
    .description("lift one: everything goes on where it stopped")
    .addArgument(appliesTo())
    .argument("[name]", "as it was set")
    .option(...JSON_FLAG);
  examples(lift, "holdfast brake lift scope default/handbook").action(
    async (target: Target, name = "", { json }) => {
      const brakes = await withHoldfast((holdfast) => holdfast.brake.lift(target, name));
      await answer(brakes.map(viewBrake), json, `brake on ${label(target, name)} is lifted`);
    },
  );

  const list = brake
    .command("list")
    .description("brakes that are set, with who set them and why")
    .option(...JSON_FLAG);
  examples(list, "holdfast brake list").action(async ({ json }) => {
    const brakes = await withHoldfast((holdfast) => holdfast.brake.list());
    await printBrakes(brakes.map(viewBrake), json);
  });
}

type Target = (typeof TARGETS)[number];

function appliesTo(): Argument {
  return new Argument("<applies-to>", "what it holds back").choices(TARGETS);
}

function label(target: string, name: string): string {
  return name === "" ? target : `${target} ${name}`;
}

type Brakes = ReturnType<typeof viewBrake>[];

async function answer(brakes: Brakes, json: boolean | undefined, done: string): Promise<void> {
  if (!json) return say(done);
  await printBrakes(brakes, json);
}

async function printBrakes(items: Brakes, json: boolean | undefined): Promise<void> {
  await printPage(
    { items },
    {
      json,
      head: ["APPLIES TO", "NAME", "SET BY", "SET AT", "REASON"],
      row: (brake) => [brake.appliesTo, brake.name, brake.setBy, moment(brake.setAt), brake.reason],
      none: "no brake is set",
    },
  );
}
