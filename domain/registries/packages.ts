import type { RegistryFile } from "../../contracts/registry.ts";

/**
 * Software packages: what is installed, who keeps it, what it is built from. A package is its name in
 * an ecosystem; a release is a version of it, and names what it depends on by value.
 */
export const PACKAGES_REGISTRY: RegistryFile = {
  name: "packages",
  types: {
    ecosystem: {
      match: [["name"]],
      need: ["name"],
      fields: { name: { kind: "s", maxLength: 100 }, homepage: "s", description: "s" },
    },
    license: {
      match: [["name"]],
      need: ["name"],
      slug: { field: "slug", from: "name" },
      fields: { name: { kind: "s", maxLength: 200 }, slug: "s", url: "s" },
    },
    maintainer: {
      // Two people may share a name: it names only somebody whose address nobody has said.
      match: [["email"], { parts: ["name"], when: { email: null } }],
      need: ["name"],
      fields: {
        name: { kind: "s", maxLength: 200 },
        email: { kind: "s", maxLength: 320 },
        url: "s",
      },
    },
    package: {
      match: [["name", "ecosystem?"]],
      need: ["name"],
      fields: {
        name: { kind: "s", maxLength: 214 },
        ecosystem: "@ecosystem",
        description: "s",
        homepage: "s",
        repository: "s",
        deprecated: { kind: "b", default: false },
        keywords: "[s]",
        maintainers: "[@maintainer]",
        labels: "{}",
      },
    },
    release: {
      match: [["package", "version"]],
      need: ["package", "version"],
      fields: {
        package: "@package",
        version: { kind: "s", maxLength: 256 },
        license: "@license",
        // What a release was built from is a fact: another list replaces it.
        dependencies: { kind: "[@package]", policy: "replace" },
        ranges: { kind: "{}", policy: "replace" },
        engines: { kind: "{}", policy: "replace" },
        size_bytes: { kind: "i", min: 0 },
        files: { kind: "i", min: 0 },
        integrity: "s",
        labels: "{}",
      },
    },
  },
};
