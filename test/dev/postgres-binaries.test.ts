import { lstat, mkdir, mkdtemp, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mendInstallation } from "../../dev/postgres-binaries.ts";

test("binaries installed without their install script get the links and modes it would have made", async () => {
  const home = await mkdtemp(join(tmpdir(), "holdfast-mend-"));
  const native = join(home, "native");
  try {
    for (const dir of ["bin", "lib"]) await mkdir(join(native, dir), { recursive: true });
    for (const name of ["bin/initdb", "bin/postgres", "lib/libpq.so.5.18", "lib/libz.so.1"]) {
      await writeFile(join(native, name), "", { mode: 0o644 });
    }
    await symlink("libz.so.1", join(native, "lib/libz.so"));
    const links = ["libpq.so", "libpq.so.5"].map((name) => ({
      source: "native/lib/libpq.so.5.18",
      target: `native/lib/${name}`,
    }));
    const present = { source: "native/lib/libz.so.1", target: "native/lib/libz.so" };
    await writeFile(join(native, "pg-symlinks.json"), JSON.stringify([...links, present]));

    await Promise.all([mendInstallation(native), mendInstallation(native)]);
    await mendInstallation(native);

    await expect(readlink(join(native, "lib/libpq.so.5"))).resolves.toBe("libpq.so.5.18");
    await expect(stat(join(native, "lib/libpq.so"))).resolves.toMatchObject({ size: 0 });
    expect((await lstat(join(native, "lib/libz.so"))).isSymbolicLink()).toBe(true);
    for (const name of ["initdb", "postgres"]) {
      expect((await stat(join(native, "bin", name))).mode & 0o777).toBe(0o755);
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
