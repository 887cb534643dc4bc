import type { HoldfastConfig } from "../contracts/config.ts";
import { InvalidInput } from "../contracts/errors.ts";
import { TargetConfig, TargetName } from "../contracts/target.ts";
import type { Target } from "../domain/target.ts";
import { HttpTarget } from "./target-http.ts";
import { LatencyTarget } from "./target-latency.ts";

/**
 * The targets of the configuration, by name.
 * @throws InvalidInput naming the field that is wrong, and never what is secret in it
 */
export function openTargets(config: Pick<HoldfastConfig, "inventory">): Map<string, Target> {
  const targets = new Map<string, Target>();
  for (const [name, given] of Object.entries(config.inventory?.targets ?? {})) {
    const at = `inventory.targets.${name}`;
    const named = TargetName.safeParse(name);
    if (!named.success || name === "inventory") {
      const message = named.success
        ? "is the name of the built-in target: choose another"
        : named.error.issues[0]!.message;
      throw new InvalidInput([{ path: at, message }]);
    }
    const shape = "latency" in given ? TargetConfig.options[1] : TargetConfig.options[0];
    const parsed = shape.safeParse(given);
    if (!parsed.success) {
      throw new InvalidInput(
        parsed.error.issues.map(({ path, message }) => ({
          path: [at, ...path].join("."),
          message,
        })),
      );
    }
    const settings = parsed.data;
    targets.set(
      name,
      "latency" in settings ? new LatencyTarget(settings) : new HttpTarget(settings),
    );
  }
  return targets;
}
