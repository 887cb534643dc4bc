import type { HoldfastConfig } from "../contracts/config.ts";
import { InvalidInput, type InputIssue } from "../contracts/errors.ts";
import type { RegistryFile } from "../contracts/registry.ts";
import { NETWORK_REGISTRY } from "./registries/network.ts";
import { PACKAGES_REGISTRY } from "./registries/packages.ts";
import { loadRegistry, type Registry } from "./registry.ts";

/** The registries of an installation: two that are built in, and what the configuration adds. */

export const DEFAULT_REGISTRY = "network";

const BUILT_IN: Readonly<Record<string, RegistryFile>> = {
  network: NETWORK_REGISTRY,
  packages: PACKAGES_REGISTRY,
};

type Files = Readonly<Record<string, RegistryFile>>;

const NONE: Files = {};
/** Loaded once for each set of files, which never change while a process lives. */
const loaded = new WeakMap<Files, Map<string, Registry>>();

/** The names that a tenant may choose from. */
export function registryNames(config: Pick<HoldfastConfig, "inventory">): string[] {
  return [
    ...new Set([...Object.keys(BUILT_IN), ...Object.keys(config.inventory?.registries ?? NONE)]),
  ].toSorted();
}

/**
 * The registry of this name; one of the configuration goes before a built-in one.
 * @throws InvalidInput for a name that nobody has, or a registry that cannot work, naming type and field
 */
export function registryOf(config: Pick<HoldfastConfig, "inventory">, name: string): Registry {
  const files = config.inventory?.registries ?? NONE;
  let known = loaded.get(files);
  if (!known) loaded.set(files, (known = new Map()));
  const before = known.get(name);
  if (before) return before;
  const file = own(files, name) ?? own(BUILT_IN, name);
  if (!file) {
    const names = registryNames(config).join(", ");
    throw new InvalidInput([
      { path: "registry", message: `there is no registry ${name}: choose one of ${names}` },
    ]);
  }
  const registry = loadNamed(name, file);
  known.set(name, registry);
  return registry;
}

function own(files: Files, name: string): RegistryFile | undefined {
  return Object.hasOwn(files, name) ? files[name] : undefined;
}

function loadNamed(name: string, file: RegistryFile): Registry {
  try {
    return loadRegistry(file);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw new InvalidInput(
      error.issues.map(({ path, message }): InputIssue => {
        return { path: `inventory.registries.${name}: ${path}`, message };
      }),
    );
  }
}
