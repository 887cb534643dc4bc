import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { EntityInput } from "../client/index.ts";

/**
 * Installed packages as a discovery agent would report them: one entity a release, with the package, its
 * licence, the people who keep it and what it depends on by value. Real files say the same in many ways,
 * and some say nothing; what two of them say differently of one thing is said here in one way, so that the
 * same files are the same entities.
 */
export interface PackageEntity extends EntityInput {
  release: Release;
}

interface Release {
  version: string;
  package: Package;
  license?: { name: string };
  dependencies?: Package[];
  ranges?: Record<string, string>;
  engines?: Record<string, string>;
}

interface Package {
  name: string;
  ecosystem: { name: string };
  description?: string;
  homepage?: string;
  repository?: string;
  keywords?: string[];
  maintainers?: Person[];
}

interface Person {
  name: string;
  email?: string;
}

const ECOSYSTEM = { name: "npm" };
/** The same at every start: what differs from one to the next is a change. */
const SEEN_AT = "2026-01-01T00:00:00Z";

export async function installedPackages(nodeModules: string): Promise<PackageEntity[]> {
  const entries = await readdir(nodeModules, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && entry.name === "package.json")
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => isPackageRoot(dirname(path)))
    .toSorted();
  const releases = new Map<string, PackageFile>();
  for (const path of paths) {
    const file = packageFile(await readFile(path, "utf8"));
    if (file) releases.set(`${file.name}@${file.version}`, file);
  }
  return entitiesOf([...releases.values()]);
}

// node_modules/name or node_modules/@scope/name, at any depth.
function isPackageRoot(path: string): boolean {
  return /(^|[/\\])node_modules[/\\](@[^/\\]+[/\\])?[^/\\@]+$/.test(path);
}

interface PackageFile {
  readonly [field: string]: unknown;
  name: string;
  version: string;
}

/** Undefined for files that name no release: what only tells a bundler something. */
export function packageFile(text: string): PackageFile | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch {
    return undefined;
  }
  const file = asObject(value);
  const { name, version } = file;
  if (typeof name !== "string" || typeof version !== "string") return undefined;
  return name === "" || version === "" ? undefined : { ...file, name, version };
}

export function entitiesOf(files: readonly PackageFile[]): PackageEntity[] {
  const people = new Map<string, Person>();
  // Of a package installed twice the newest release speaks for it.
  const newest = new Map<string, PackageFile>();
  for (const file of files) {
    const known = newest.get(file.name);
    if (!known || compareVersions(file.version, known.version) > 0) newest.set(file.name, file);
  }
  return files.map((file): PackageEntity => {
    const about = newest.get(file.name) === file ? aboutPackage(file, people) : {};
    const depends = dependenciesOf(file);
    const license = licenseOf(file);
    const engines = textsOf(file["engines"]);
    return {
      timestamp: SEEN_AT,
      release: {
        version: file.version,
        package: { ...packageNamed(file.name), ...about },
        ...(license !== undefined && { license: { name: license } }),
        ...(depends.length > 0 && {
          dependencies: [...new Set(depends.map(({ name }) => name))].toSorted().map(packageNamed),
          ranges: Object.fromEntries(depends.map(({ as, range }) => [as, range])),
        }),
        ...(Object.keys(engines).length > 0 && { engines }),
      },
    };
  });
}

function packageNamed(name: string): Package {
  return { name, ecosystem: ECOSYSTEM };
}

function aboutPackage(file: PackageFile, people: Map<string, Person>): Partial<Package> {
  const { description, homepage, keywords } = file;
  const repository = urlOf(file["repository"]);
  const words = (Array.isArray(keywords) ? keywords : []).filter((word) => isText(word));
  const maintainers = peopleOf(file, people);
  return {
    ...(isText(description) && { description }),
    ...(isText(homepage) && { homepage }),
    ...(repository !== undefined && { repository }),
    ...(words.length > 0 && { keywords: [...new Set(words)] as string[] }),
    ...(maintainers.length > 0 && { maintainers }),
  };
}

/** `"MIT"`, `{ "type": "MIT", "url" }`, or a list of such, which old files call `licenses`. */
function licenseOf(file: PackageFile): string | undefined {
  const given = file["license"] ?? file["licenses"];
  const names = (Array.isArray(given) ? given : [given]).flatMap((one: unknown) => {
    const name = typeof one === "string" ? one : (asObject(one)["type"] ?? asObject(one)["name"]);
    return isText(name) ? [name.trim()] : [];
  });
  return names.length === 0 ? undefined : names.join(" OR ");
}

/** The author and who else keeps it; a person is known by an address, under the first name it came with. */
function peopleOf(file: PackageFile, people: Map<string, Person>): Person[] {
  const given = [file["author"], file["maintainers"], file["contributors"]].flat();
  const found = new Map<string, Person>();
  for (const one of given) {
    const person = personOf(one);
    if (!person) continue;
    const key = person.email ?? `name ${person.name}`;
    if (!people.has(key)) people.set(key, person);
    found.set(key, people.get(key)!);
  }
  return [...found.values()];
}

/** `"Ann Lee <ann@example.net> (https://example.net)"`, or the same as an object. */
export function personOf(given: unknown): Person | undefined {
  const { name, email } =
    typeof given === "string"
      ? (/^(?<name>[^<(]*)(?:<(?<email>[^>]*)>)?/.exec(given)!.groups ?? {})
      : asObject(given);
  const address = isText(email) ? email.trim().toLowerCase() : undefined;
  const called = isText(name) ? name.trim() : address;
  if (called === undefined) return undefined;
  return address === undefined ? { name: called } : { name: called, email: address };
}

interface Dependency {
  name: string;
  /** By which name the package imports it. */
  as: string;
  range: string;
}

/** `"npm:real@^1"` is another package under this name. */
function dependenciesOf(file: PackageFile): Dependency[] {
  return Object.entries(textsOf(file["dependencies"])).map(([as, range]) => {
    const alias = /^npm:(.+)@([^@]*)$/.exec(range);
    return alias ? { name: alias[1]!, as, range: alias[2]! } : { name: as, as, range };
  });
}

function urlOf(given: unknown): string | undefined {
  const url = typeof given === "string" ? given : asObject(given)["url"];
  return isText(url) ? url : undefined;
}

function textsOf(given: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(asObject(given)).filter((entry): entry is [string, string] => isText(entry[1])),
  );
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "";
}

/** By the numbers first; a release comes after what was released before it as a preview. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split("-", 1)[0]!.split("."));
  for (let at = 0; at < 3; at++) {
    const difference = Number(left![at] ?? 0) - Number(right![at] ?? 0);
    if (difference) return difference;
  }
  return Number(b.includes("-")) - Number(a.includes("-")) || (a < b ? -1 : 1);
}

/** Different objects that the entities name, by type: what an inventory of them must hold. */
export function countNamed(entities: readonly PackageEntity[]): Record<string, number> {
  const named = new Map<string, Set<string>>();
  const name = (type: string, what: string) => {
    if (!named.has(type)) named.set(type, new Set());
    named.get(type)!.add(what);
  };
  for (const { release } of entities) {
    name("release", `${release.package.name}@${release.version}`);
    if (release.license) name("license", release.license.name);
    for (const { name: package_, ecosystem } of [
      release.package,
      ...(release.dependencies ?? []),
    ]) {
      name("package", package_);
      name("ecosystem", ecosystem.name);
    }
    for (const person of release.package.maintainers ?? []) {
      name("maintainer", person.email ?? `name ${person.name}`);
    }
  }
  return Object.fromEntries([...named].map(([type, all]) => [type, all.size]));
}
