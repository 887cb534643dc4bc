import type { Child } from "hono/jsx";
import type { PageProps } from "./page.tsx";

/** What one page shows, in sections that the live stream can replace one by one. */
export interface Body {
  title: string;
  at: NonNullable<PageProps["at"]>;
  /** By the id of their element, in order. */
  sections: Record<string, Child>;
  /** True when nothing here will change any more. */
  ended?: boolean;
  status?: 200 | 400;
}
