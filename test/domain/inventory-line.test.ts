import { expect, test } from "vitest";
import type { Fields } from "../../contracts/inventory.ts";
import { entityHash } from "../../domain/inventory-hash.ts";
import { linesOf, MAX_LINE_BYTES, readEntity, readLine } from "../../domain/inventory-line.ts";
import { exactTime } from "../../domain/inventory-time.ts";
import { loadRegistry } from "../../domain/registry.ts";
import { NETWORK_REGISTRY } from "../../domain/registries/network.ts";

const registry = loadRegistry(NETWORK_REGISTRY);
const AT = '"timestamp":"2026-03-01T00:00:01.040Z"';

function read(line: string) {
  const reading = readLine(registry, line);
  if (reading.read !== "entity") throw new Error(JSON.stringify(reading));
  return reading.entity;
}

function refused(line: string | Uint8Array): string {
  const reading = readLine(registry, line);
  if (reading.read !== "rejection") throw new Error(`not refused: ${JSON.stringify(reading)}`);
  const { code, issues } = reading.rejection;
  return `${code}: ${issues.map(({ path, message }) => `${path} ${message}`).join("; ")}`;
}

const device = (fields: string) => `{${AT},"device":{${fields}}}`;

test("both shapes of a line mean the same entity", () => {
  const plain = read(`{${AT},"device":{"name":"sw1","site":{"name":"x"}}}`);
  expect(plain).toEqual({
    type: "device",
    fields: { name: "sw1", site: { name: "x" } },
    sourceTime: "2026-03-01T00:00:01.040000000Z",
    warnings: [],
  });
  const fields = '{"name":"sw1","site":{"name":"x"}}';
  for (const type of ["device", "dcim.device"]) {
    for (const entity of [fields, `{"device":${fields}}`]) {
      expect(read(`{"object_type":"${type}","entity":${entity},${AT}}`)).toEqual(plain);
    }
  }
  const { sourceTime: _, ...timeless } = plain;
  expect(read(`{"object_type":"device","entity":${fields}}`)).toEqual(timeless);
  expect(read(`{"object_type":"device","entity":${fields},"branch":"b1"}`).branch).toBe("b1");
  expect(read(`{${AT},"branch":"b1","device":${fields}}`).branch).toBe("b1");
});

test("a field that has the name of its type is a field, not an envelope", () => {
  const entity = read('{"object_type":"ipam.prefix","entity":{"prefix":"10.0.0.0/8"}}');
  expect(entity.fields).toEqual({ prefix: "10.0.0.0/8" });
});

test("names may be camelCase or snake_case, and both at once only when they agree", () => {
  expect(
    read(`{${AT},"virtualMachine":{"name":"v","primaryIp4":{"address":"10.0.0.1/8"}}}`),
  ).toMatchObject({
    type: "virtual_machine",
    fields: { name: "v", primary_ip4: { address: "10.0.0.1/8" } },
  });
  expect(read(device('"name":"a","assetTag":"1","asset_tag":"1"')).fields).toEqual({
    name: "a",
    asset_tag: "1",
  });
  expect(refused(device('"name":"a","assetTag":"1","asset_tag":"2"'))).toBe(
    "fields: device.asset_tag is given twice with different values",
  );
});

test("a byte order mark, a carriage return and white space are no part of a line", () => {
  const line = device('"name":"sw1"');
  expect(read(`\uFEFF${line}\r`)).toEqual(read(line));
  for (const blank of ["", "  ", "\r", "\uFEFF"])
    expect(readLine(registry, blank).read).toBe("nothing");
  expect(readLine(registry, Buffer.from(line))).toEqual(readLine(registry, line));
});

test("only a line feed ends a line", () => {
  expect([...linesOf("a\u2028b\u2029c\u0085d\r\ne\n\nf")]).toEqual([
    "a\u2028b\u2029c\u0085d\r",
    "e",
    "",
    "f",
  ]);
  expect([...linesOf("a\n")]).toEqual(["a"]);
  expect(read(device('"name":"a\u2028b"')).fields["name"]).toBe("a\u2028b");
});

test("integers beyond 2^53 are kept to the last digit, in every notation", () => {
  const number = (text: string) =>
    (read(device(`"name":"a","custom_fields":{"n":${text}}`)).fields["custom_fields"] as Fields)[
      "n"
    ];
  expect(number("9007199254740993")).toBe(9_007_199_254_740_993n);
  expect(number("-123456789012345678901234567890")).toBe(-123_456_789_012_345_678_901_234_567_890n);
  expect(number("9007199254740993.0")).toBe(9_007_199_254_740_993n);
  expect(number("1e23")).toBe(100_000_000_000_000_000_000_000n);
  expect(number("12345678901234567.89e2")).toBe(1_234_567_890_123_456_789n);
  expect(number("4200000000")).toBe(4_200_000_000);
  expect(number("1.0")).toBe(1);
  expect(number("1e3")).toBe(1_000);
  expect(number("0.30000000000000004")).toBe(0.30000000000000004);
  expect(number('"9007199254740993"')).toBe("9007199254740993");
  expect(number('"a\\\\\\"9007199254740993"')).toBe('a\\"9007199254740993');
  expect(Object.is(number("-0"), 0)).toBe(true);
  expect(refused(device(`"name":"a","position":1e200`))).toMatch(
    /^not-json: line .* more than 100 digits/,
  );
  expect(refused(device('"name":"a","serial":"\\u0000n1","position":9007199254740993'))).toMatch(
    /NUL/,
  );
});

test("a number that a program gives and a double has rounded is refused", () => {
  const given = { object_type: "asn", entity: { asn: 2 ** 60, rir: { name: "x" } } };
  expect(readEntity(registry, given)).toMatchObject({
    read: "rejection",
    rejection: {
      issues: [
        { path: "asn.asn", message: "is beyond 2^53 and no longer exact: give it as a bigint" },
      ],
    },
  });
  const exact = { object_type: "asn", entity: { asn: 2n ** 60n, rir: { name: "x" } } };
  expect(readEntity(registry, exact)).toMatchObject({ entity: { fields: { asn: 2n ** 60n } } });
});

test("times keep their nanoseconds and sort as text", () => {
  expect(exactTime("2026-03-01T00:00:01.123456789Z")).toBe("2026-03-01T00:00:01.123456789Z");
  expect(exactTime("2026-03-01T01:30:00.5+01:30")).toBe("2026-03-01T00:00:00.500000000Z");
  expect(exactTime("2026-02-28T23:59:60Z")).toBe("2026-03-01T00:00:00.000000000Z");
  expect(exactTime("2024-02-29t00:00:00z")).toBe("2024-02-29T00:00:00.000000000Z");
  expect(exactTime("0001-01-01T00:00:00Z")).toBe("0001-01-01T00:00:00.000000000Z");
  expect(exactTime("0099-12-31T23:59:59.000000001-00:01")).toBe("0100-01-01T00:00:59.000000001Z");
  for (const wrong of [
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-03-01T24:00:00Z",
    "2026-03-01T00:00:00",
    "2026-03-01",
    "2026-03-01T00:00:00.1234567890Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "yesterday",
    "",
  ]) {
    expect(exactTime(wrong), wrong).toBeUndefined();
  }
  expect(refused('{"device":{"name":"a"}}')).toMatch(
    /^timestamp: timestamp must be an RFC 3339 time/,
  );
  expect(refused('{"timestamp":1740787200,"device":{"name":"a"}}')).toMatch(/^timestamp/);
  expect(refused('{"object_type":"device","entity":{"name":"a"},"timestamp":"soon"}')).toMatch(
    /^timestamp/,
  );
});

test("what is empty says nothing, however deep it stands", () => {
  const entity = read(
    device(
      '"name":"a","serial":null,"comments":"","tags":[],"site":{},"rack":{"name":null,"site":{"name":""}},"custom_fields":{"a":null,"b":{"c":[""]},"d":false,"e":0}',
    ),
  );
  expect(entity.fields).toEqual({ name: "a", custom_fields: { d: false, e: 0 } });
  expect(refused(device('"name":null'))).toBe(
    "fields: device says nothing: give the fields that name it",
  );
});

test("a value of the wrong kind makes the whole line invalid, and says where", () => {
  expect(refused(device('"name":7'))).toBe("fields: device.name must be text, not a number");
  expect(refused(device('"name":"a","site":"x"'))).toBe(
    "fields: device.site must be an object given by value, not text",
  );
  expect(
    refused(device('"name":"a","site":{"name":"x","tags":[{"name":"t"},{"name":true}]}')),
  ).toBe("fields: device.site.tags[1].name must be text, not true or false");
  expect(refused(device('"name":"a","vc_position":1.5'))).toBe(
    "fields: device.vc_position must be an integer",
  );
  expect(refused(device('"name":"a","tags":{"name":"t"}'))).toBe(
    "fields: device.tags must be a list, not an object",
  );
  expect(refused(device('"name":"a","custom_fields":[1]'))).toBe(
    "fields: device.custom_fields must be an object, not a list",
  );
  expect(refused(device('"name":1,"serial":2'))).toMatch(/device\.name .*; device\.serial /);
});

test("text that no database can hold is reported alone, before it reaches one", () => {
  expect(refused(device('"name":"a\\u0000b"'))).toMatch(/device\.name contains a NUL character/);
  expect(refused(device('"name":"a\\ud800"'))).toMatch(
    /device\.name contains half a surrogate pair/,
  );
  expect(refused(device('"name":"a","custom_fields":{"\\u0000":1}'))).toMatch(
    /device\.custom_fields has a key/,
  );
  expect(refused(device('"name":"a","_clear":["\\ud800"]'))).toMatch(/half a surrogate/);
  expect(read(device('"name":"😀"')).fields).toEqual({ name: "😀" });
  expect(refused(Buffer.from([0x7b, 0xff, 0x7d]))).toBe("not-utf-8: line is not UTF-8");
  expect(refused(`{"a\\ud800":{}}`)).not.toMatch(/[\ud800-\udfff]/);
});

test("what names an object fits into an index", () => {
  expect(refused(device(`"name":"${"n".repeat(2_100)}"`))).toMatch(
    /^fields: device\.name names the object and is longer/,
  );
  expect(refused(device(`"name":"a","site":{"name":"${"é".repeat(1_100)}"}`))).toMatch(
    /device\.site\.name names/,
  );
  expect(read(device(`"name":"a","comments":"${"n".repeat(100_000)}"`)).fields["name"]).toBe("a");
  expect(refused(device(`"comments":"${"n".repeat(MAX_LINE_BYTES)}"`))).toMatch(/^too-long: line/);
});

test("exactly one known type stands in a line", () => {
  expect(refused(`{${AT},"device":{"name":"a"},"site":{"name":"b"}}`)).toMatch(
    /^two-types: line holds device and site/,
  );
  expect(refused(`{${AT},"gadget":{"name":"a"}}`)).toMatch(
    /^unknown-type: line "gadget" is no type of the network/,
  );
  expect(refused(`{${AT}}`)).toMatch(/^unknown-type: line names no type/);
  expect(refused('{"object_type":"gadget","entity":{}}')).toMatch(
    /^unknown-type: object_type "gadget"/,
  );
  expect(refused("[1]")).toMatch(/^unknown-type: line must be an object/);
  expect(refused("nonsense")).toMatch(/^not-json/);
  expect(read(`{${AT},"metadata":{"by":"x"},"gadget":{},"device":{"name":"a"}}`).warnings).toEqual([
    '"gadget" is no type of the network registry: dropped',
  ]);
});

test("fields that the registry does not know are dropped with a warning, metadata without", () => {
  const entity = read(
    device(
      '"name":"a","colour":"red","metadata":{"x":1},"site":{"name":"s","_id":7,"metadata":2},"__proto__":{"serial":"x"},"constructor":1',
    ),
  );
  expect(entity.fields).toEqual({ name: "a", site: { name: "s" } });
  expect(entity.warnings).toEqual([
    "device.colour is no field of device: dropped",
    "device.site._id is no field of site: dropped",
    "device.__proto__ is no field of device: dropped",
    "device.constructor is no field of device: dropped",
  ]);
  expect(
    Object.keys(
      read(device('"name":"a","custom_fields":{"__proto__":{"x":1}}')).fields[
        "custom_fields"
      ] as Fields,
    ),
  ).toEqual(["__proto__"]);
});

test("fields are cleared by name, keys of maps by both names, and nothing that every object needs", () => {
  const entity = read(
    device(
      '"name":"a","_clear":["serial","assetTag","custom_fields.owner","serial","colour","serial.x"]',
    ),
  );
  expect(entity.fields["_clear"]).toEqual(["asset_tag", "custom_fields.owner", "serial"]);
  expect(entity.warnings).toHaveLength(2);
  expect(refused(device('"name":"a","_clear":["role"]'))).toMatch(
    /device\._clear\[0\] role is needed by every device/,
  );
  expect(refused(device('"name":"a","_clear":"serial"'))).toMatch(
    /device\._clear must be a list of field names/,
  );
});

test("a generic reference names the type of what it refers to", () => {
  const cable = (a: string) =>
    `{${AT},"cable":{"a_terminations":[${a}],"b_terminations":[{"rear_port":{"name":"r"}}]}}`;
  const port = { interface: { name: "e0", device: { name: "a" } } };
  for (const name of ["interface", "object_interface", "objectInterface"]) {
    const line = cable(JSON.stringify({ [name]: port.interface }));
    expect(read(line).fields["a_terminations"], name).toEqual([port]);
  }
  expect(refused(cable('{"site":{"name":"x"}}'))).toMatch(
    /cable\.a_terminations\[0\] must hold one object under the name of its type: console_port/,
  );
  expect(refused(cable('{"interface":{"name":"e"},"rear_port":{"name":"r"}}'))).toMatch(
    /must hold one object/,
  );
});

test("objects nested without end are refused, not followed", () => {
  let region = '{"name":"r"}';
  for (let depth = 0; depth < 40; depth++) region = `{"name":"r","parent":${region}}`;
  expect(refused(`{${AT},"region":${region}}`)).toMatch(/is nested deeper than 32 objects/);
  const nested = `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`;
  expect(refused(device(`"name":"a","custom_fields":${nested}`))).toMatch(
    /is nested deeper than 32/,
  );
  const tags = Array.from({ length: 2_500 }, (_, n) => `{"name":"t${n}"}`).join();
  expect(refused(device(`"name":"a","tags":[${tags}]`))).toMatch(
    /one of more than 2000 nested objects/,
  );
});

test("the hash of an entity is of what it says, not of how, when or by whom", () => {
  const hash = (line: string) => entityHash(read(line));
  const first = hash(device('"name":"a","position":1,"site":{"name":"s","slug":"t"}'));
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(
    hash(
      device('"site":{"slug":"t","name":"s","metadata":1},"position":1.0,"name":"a","serial":""'),
    ),
  ).toBe(first);
  expect(
    hash(
      `{"object_type":"dcim.device","entity":{"name":"a","position":1e0,"site":{"name":"s","slug":"t"}},"branch":"b"}`,
    ),
  ).toBe(first);
  expect(hash(device('"name":"a","position":2,"site":{"name":"s","slug":"t"}'))).not.toBe(first);
  expect(
    hash(device('"name":"a","position":"1","site":{"name":"s"}'.replace('"1"', "1"))),
  ).not.toBe(first);
  const big = (digits: string) => hash(device(`"name":"a","custom_fields":{"n":${digits}}`));
  expect(big("9007199254740993")).not.toBe(big("9007199254740992"));
  expect(big("100000000000000000000000")).toBe(big("1e23"));
});
