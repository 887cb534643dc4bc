import type { JobOptions } from "./job.ts";
import type {
  Collector,
  Consolidator,
  Extractor,
  OnResults,
  Processor,
  Validator,
} from "./plugins.ts";
import type { SearchBackend, SearchSettingsInput } from "./search.ts";

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
