/** The two sides of review: what streams in, and what was submitted as one. */
export function ReviewTabs({ at }: { at: "deviations" | "plans" }) {
  const tab = (name: typeof at, href: string) => (
    <a href={href} {...(at === name ? { "aria-current": "page" } : {})}>
      {name}
    </a>
  );
  return (
    <p class="tabs">
      {tab("deviations", "/review")}
      {tab("plans", "/plans")}
    </p>
  );
}
