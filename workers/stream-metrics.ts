import type { MetricMeter } from "@temporalio/common";
import type { Stream } from "../contracts/stream.ts";
import type { StreamTaken } from "../db/inbox-stream.ts";

/** What this process did with its streams, among the metrics of the worker. */
export interface StreamMetrics {
  taken(stream: Stream, taken: StreamTaken): void;
  lag(stream: Stream, lag: { lag: number; pending: number }): void;
  /** Whether reading rests because the inbox is full. */
  paused(stream: Stream, paused: boolean): void;
  failed(stream: Stream): void;
}

export function streamMetrics(meter: MetricMeter): StreamMetrics {
  const gauge = (name: string, help: string) => meter.createGauge(name, "int", "", help);
  const counter = (name: string, help: string) => meter.createCounter(name, "", help);
  const lag = gauge("holdfast_stream_lag", "Messages that nobody has read");
  const pending = gauge("holdfast_stream_pending", "Messages that were read and not taken yet");
  const paused = gauge("holdfast_stream_paused", "1 while reading rests: the inbox is full");
  const messages = counter("holdfast_stream_messages", "Messages taken in");
  const entities = counter("holdfast_stream_entities", "Entities taken in, copies included");
  const rejects = counter("holdfast_stream_rejects", "Entities and messages put aside");
  const faults = counter("holdfast_stream_faults", "Times that reading was broken off");
  const tags = ({ stream, group }: Stream) => ({ stream, group });
  return {
    taken(stream, taken) {
      messages.add(taken.messages, tags(stream));
      entities.add(taken.accepted + taken.copies, tags(stream));
      rejects.add(taken.rejected, tags(stream));
    },
    lag(stream, now) {
      lag.set(now.lag, tags(stream));
      pending.set(now.pending, tags(stream));
    },
    paused: (stream, now) => paused.set(now ? 1 : 0, tags(stream)),
    failed: (stream) => faults.add(1, tags(stream)),
  };
}
