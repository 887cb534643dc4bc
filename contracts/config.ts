import type { z } from "zod";
import type { PlanMode } from "./inventory.ts";
import type { JobOptions } from "./job.ts";
import type { PlanGuardPatch, PlanRule } from "./plan-rule.ts";
import type {
  Collector,
  Consolidator,
  Extractor,
  OnResults,
  Processor,
  Validator,
} from "./plugins.ts";
import type { RegistryFile } from "./registry.ts";
import type { SearchBackend, SearchSettingsInput } from "./search.ts";
import type { StreamConfig } from "./stream.ts";
import type { TargetConfig } from "./target.ts";

/** Admission limits per tenant; more open work is answered 429 until some of it has ended. */
export interface AdmissionLimits {
  openOperations: number;
  openItems: number;
  openBytes: number;
}

export const DEFAULT_LIMITS: AdmissionLimits = {
  openOperations: 1_000,
  openItems: 1_000_000,
  openBytes: 4 * 1024 ** 3,
};

/** What a user plugs in, the default export of `holdfast.config.ts`. Everything is optional. */
export interface HoldfastConfig {
  /** Asked at accept and before every attempt. Default: accepts everything. */
  validator?: Validator;
  /** Default: sentences, entities and dates found by rule, offline. */
  extractor?: Extractor;
  /** Default: one observation per entity with two or more facts. */
  consolidator?: Consolidator;
  limits?: Partial<AdmissionLimits>;
  webhooks?: {
    /**
     * Hosts events may be sent to: `hooks.example.com`, `*.example.com`, or `host:port`. Default:
     * any public https host. A private or loopback address must be named here.
     */
    allow?: readonly string[];
  };
  /** What is searchable. Without it: retained documents and facts. */
  search?: SearchSettingsInput & {
    /** Where objects are indexed. Default: in Postgres, beside everything else. */
    backend?: SearchBackend;
  };
  retain?: {
    /** Bound on one answer of extractor or validator, ms. Past it the try has failed. Default 120,000. */
    extractTimeoutMs?: number;
    /** Items of one page worked at the same time, when the extractor waits. Default 16. */
    extractConcurrency?: number;
  };
  jobs?: JobsConfig;
  inventory?: InventoryConfig;
}

/** How entities are taken in, planned and applied. What a tenant sets for itself goes before it. */
export interface InventoryConfig {
  /** Registry of tenants that name none. Default `network`. */
  registry?: string;
  /** A user's own registries by name, beside `network` and `packages`. */
  registries?: Readonly<Record<string, RegistryFile>>;
  /** Default `plan-only`: nothing is applied without an approval. */
  mode?: PlanMode;
  rules?: readonly z.input<typeof PlanRule>[];
  guard?: PlanGuardPatch;
  /** Branch of what names none. Default `main` in the built-in inventory, elsewhere what the target says. */
  defaultBranch?: string;
  /** An event is sent when something has waited this long for a decision. Default 86,400; 0: never. */
  escalateSeconds?: number;
  /** What has waited this long for a decision ends failed. Default 0: never. */
  expireSeconds?: number;
  /** Entities of one tenant that may wait to be planned; above it taking in is answered 429. Default 1,000,000. */
  maxQueued?: number;
  /** Targets outside, by the name that tenants set. */
  targets?: Readonly<Record<string, TargetConfig>>;
  /** Streams that entities are taken in from. */
  streams?: readonly StreamConfig[];
  /** Entities planned and applied in one transaction. Default 1,000. */
  batchSize?: number;
  /** Of entities that wait for what they refer to; the wait doubles from one attempt to the next. */
  retry?: {
    /** After so many attempts an entity is given up. Default 12. */
    attempts?: number;
    /** Default 5. */
    firstSeconds?: number;
    /** Default 600. */
    mostSeconds?: number;
  };
}

export interface JobsConfig {
  /** Batches that one pull worker may hold. Default 2. */
  heldBatches?: number;
  /** False: no log rows of jobs; the process's own log stays as it is. Default true. */
  persistLogs?: boolean;
  /** Called with what counts of every post, in its transaction. */
  onResults?: OnResults;
  /** By pipeline: worked inside our worker, beside pull workers if there are any. */
  processors?: Readonly<Record<string, Processor>>;
  /** By the name that a job asks for. */
  collectors?: Readonly<Record<string, Collector>>;
  /** What a job that does not say is submitted with. */
  defaults?: Partial<JobOptions>;
}

/** Types the configuration; returns it as it is. */
export function defineConfig(config: HoldfastConfig): HoldfastConfig {
  return config;
}

/** Types a processor of jobs; returns it as it is. */
export function defineProcessor(processor: Processor): Processor {
  return processor;
}

/** Types a collector of jobs; returns it as it is. */
export function defineCollector(collector: Collector): Collector {
  return collector;
}
