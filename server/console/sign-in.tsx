/** The page that asks for an API key. */
export function SignIn({ next, wrong }: { next: string; wrong?: string | undefined }) {
  return (
    <section class="ask">
      <h1>Sign in</h1>
      <p>
        With an API key. An admin makes one:{" "}
        <code class="command">holdfast key create --name "Your name" --role operator</code>
      </p>
      <form method="post" action="/sign-in">
        <input type="hidden" name="next" value={next} />
        <label>
          <span>API key</span>
          <input name="key" type="password" autocomplete="current-password" size={50} required autofocus />
        </label>
        {wrong && (
          <p class="alarm" role="alert">
            {wrong}
          </p>
        )}
        <p class="acts">
          <button>Sign in</button>
        </p>
      </form>
    </section>
  );
}

/** A place on this server to go on to; anything else becomes the overview. */
export function safeNext(given: unknown): string {
  if (typeof given !== "string" || !given.startsWith("/")) return "/";
  const base = "http://here.invalid";
  if (!URL.canParse(given, base)) return "/";
  const url = new URL(given, base);
  return url.origin === base ? `${url.pathname}${url.search}` : "/";
}
