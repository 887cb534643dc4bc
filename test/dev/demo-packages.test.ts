import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  countNamed,
  entitiesOf,
  installedPackages,
  packageFile,
  personOf,
} from "../../dev/demo-packages.ts";
import { readEntity } from "../../domain/inventory-line.ts";
import type { Json } from "../../domain/exact-json.ts";
import { registryOf } from "../../domain/inventory-registries.ts";

async function folder(files: Record<string, unknown>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "holdfast-packages-"));
  onTestFinished(() => rm(path, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(
      join(path, name),
      typeof content === "string" ? content : JSON.stringify(content),
    );
  }
  return join(path, "node_modules");
}

test("packages are found at any depth and with a scope, each release once", async () => {
  const found = await installedPackages(
    await folder({
      "node_modules/a/package.json": { name: "a", version: "1.0.0" },
      "node_modules/@s/b/package.json": { name: "@s/b", version: "2.0.0" },
      "node_modules/@s/b/node_modules/a/package.json": { name: "a", version: "2.0.0" },
      "node_modules/c/node_modules/a/package.json": { name: "a", version: "1.0.0" },
      "node_modules/a/esm/package.json": { name: "not-a-package", version: "1.0.0" },
      "node_modules/c/package.json": { type: "module" },
      "node_modules/d/package.json": "{ not json",
    }),
  );
  const names = found.map(({ release }) => `${release.package.name}@${release.version}`);
  expect(names.toSorted()).toEqual(["@s/b@2.0.0", "a@1.0.0", "a@2.0.0"]);
});

test("licences, people and dependencies are read however a file writes them", () => {
  const [entity] = entitiesOf([
    packageFile(
      "\uFEFF" +
        JSON.stringify({
          name: "a",
          version: "1.0.0",
          licenses: [{ type: "MIT", url: "https://example.net" }, { type: "Apache-2.0" }],
          author: "Ann Lee <Ann@example.net> (https://example.net)",
          maintainers: [{ name: "ann", email: "ann@example.net" }, { name: "Bo" }, 7, ""],
          repository: { type: "git", url: "https://example.net/a.git" },
          dependencies: { b: "^1", c: "npm:@s/real@~2.1", d: 5 },
          engines: ["node >= 0.4"],
          keywords: ["x", "x", "", 1],
        }),
    )!,
  ]);
  expect(entity!.release).toEqual({
    version: "1.0.0",
    license: { name: "MIT OR Apache-2.0" },
    package: {
      name: "a",
      ecosystem: { name: "npm" },
      repository: "https://example.net/a.git",
      keywords: ["x"],
      maintainers: [{ name: "Ann Lee", email: "ann@example.net" }, { name: "Bo" }],
    },
    dependencies: [
      { name: "@s/real", ecosystem: { name: "npm" } },
      { name: "b", ecosystem: { name: "npm" } },
    ],
    ranges: { b: "^1", c: "~2.1" },
  });
  expect(personOf("<ann@example.net>")).toEqual({
    name: "ann@example.net",
    email: "ann@example.net",
  });
});

test("of two releases of a package the newest speaks for the package, so that nothing is said twice", () => {
  const of = (version: string) => ({ name: "a", version, description: `as of ${version}` });
  const said = entitiesOf([of("10.0.0-rc.1"), of("10.0.0"), of("9.0.0")]).map(
    ({ release }) => release.package.description,
  );
  expect(said).toEqual([undefined, "as of 10.0.0", undefined]);
});

test("every installed package is an entity of the packages registry, with nothing dropped", async () => {
  const found = await installedPackages(join(import.meta.dirname, "../../node_modules"));
  expect(found.length).toBeGreaterThan(200);
  const registry = registryOf({}, "packages");
  for (const entity of found) {
    const reading = readEntity(registry, entity as unknown as Json);
    expect(reading).toMatchObject({ read: "entity", entity: { warnings: [] } });
  }
  const named = countNamed(found);
  expect(named).toMatchObject({ release: found.length, ecosystem: 1 });
  expect(named["package"]!).toBeGreaterThanOrEqual(
    new Set(found.map((e) => e.release.package.name)).size,
  );
});
