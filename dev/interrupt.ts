/**
 * Resolves when somebody wants this process to end: Ctrl-C, SIGTERM, a closed terminal, or the end of
 * the runner (npx, tsx) that started it. Later signals change nothing, because runners pass on a
 * Ctrl-C that the terminal has already delivered; SIGKILL always works and the leash cleans up.
 */
export function untilInterrupted(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => resolve(signal));
    if (process.connected) process.once("disconnect", () => resolve("end of the runner"));
  });
}
