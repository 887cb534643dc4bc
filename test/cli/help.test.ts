import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { program } from "../../cli/program.ts";

const root = program();
const manual = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");

function leaves(command: Command): Command[] {
  return command.commands.length > 0 ? command.commands.flatMap(leaves) : [command];
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

function helpOf(command: Command): string {
  let help = "";
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  return help;
}

const commands = leaves(root).map((command) => ({ path: pathOf(command), command }));

test.each(commands)("$path has a description and an example that names it", ({ path, command }) => {
  expect(command.description()).not.toBe("");
  const [, examples = ""] = helpOf(command).split(/Examples?:\n/);
  expect(examples).toContain(path);
});

test.each(commands)("the examples of $path use only options it has", ({ path, command }) => {
  const [, examples = ""] = helpOf(command).split(/Examples?:\n/);
  const known = command.options.flatMap(({ long, short }) => [long, short]);
  for (const [, after] of examples.matchAll(new RegExp(`${path}( .*)?$`, "gm"))) {
    for (const [flag] of (after ?? "").matchAll(/(?<= )--?[a-z][a-z-]*/g)) {
      expect(known, flag).toContain(flag);
    }
  }
});

test.each(commands)("docs/cli.md shows $path", ({ path }) => {
  expect(manual).toMatch(new RegExp(`${path}\\b`));
});

// Says every module that is resolved, from the thread that resolves them.
const TELL = `export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  process._rawDebug(found.url);
  return found;
}`;

test("declaring the commands loads none of what they need to run", () => {
  const script = `
    import { register } from "node:module";
    register("data:text/javascript," + encodeURIComponent(${JSON.stringify(TELL)}));
    const { program } = await import(${JSON.stringify(new URL("../../cli/program.ts", import.meta.url).href)});
    program();
  `;
  const { stderr, status } = spawnSync(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), "--input-type=module", "-e", script],
    { encoding: "utf8" },
  );
  expect(status).toBe(0);
  expect(stderr).toContain("/cli/retain.ts");
  for (const heavy of ["pg", "zod", "pino", "cli-table3", "@temporalio"]) {
    expect(stderr).not.toContain(`/node_modules/${heavy}/`);
  }
});
