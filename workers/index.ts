/** What a process of yours needs to run a worker. `holdfast worker` does the same from the shell. */
export { installRuntime, runWorker, type WorkerOptions } from "./worker.ts";
export {
  defineCollector,
  defineConfig,
  defineProcessor,
  type HoldfastConfig,
  type JobsConfig,
} from "../contracts/config.ts";
export { Deferred, Refused } from "../contracts/errors.ts";
export type * from "../contracts/plugins.ts";
