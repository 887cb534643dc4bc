import type { FieldValue, Fields } from "../../contracts/inventory.ts";
import { displayValue } from "../../domain/plan-identity.ts";
import type { InventoryField, InventoryType } from "../../domain/registry.ts";
import { number } from "./format.ts";

/** Values of inventory fields as people read them: a line each for what lists and maps hold. */

/** Longer text is folded away. */
const SHOWN_CHARACTERS = 240;
const SHOWN_LINES = 12;

/** `sw1, site ams`: what names an object, in one line. */
export function nameIn(identity: Fields): string {
  const parts = Object.entries(identity).map(([field, value]): string => {
    if (typeof value !== "object") return String(value);
    if (Array.isArray(value)) {
      return (value as readonly FieldValue[]).map((one) => oneLine(one)).join(", ");
    }
    return `${field.replaceAll("_", " ")} ${nameIn(value as Fields)}`;
  });
  return parts.join(", ") || displayValue(identity);
}

/** The lines that a value is compared by: one for each element, key or reference. */
function linesOf(field: InventoryField | undefined, value: FieldValue | undefined): string[] {
  if (value === undefined) return [];
  if (typeof value !== "object") return [String(value)];
  if (Array.isArray(value)) {
    return (value as readonly FieldValue[]).map((one) => referenceOr(field, one));
  }
  if (field?.kind === "reference") return [referenceOr(field, value)];
  return Object.entries(value as Fields).map(([key, one]) => `${key}: ${oneLine(one)}`);
}

function referenceOr(field: InventoryField | undefined, value: FieldValue): string {
  if (typeof value !== "object" || Array.isArray(value)) return oneLine(value);
  const [first, ...others] = Object.entries(value as Fields);
  if (field?.generic && first && others.length === 0 && typeof first[1] === "object") {
    return `${first[0].replaceAll("_", " ")} ${nameIn(first[1] as Fields)}`;
  }
  return field?.kind.startsWith("reference") ? nameIn(value as Fields) : oneLine(value);
}

function oneLine(value: FieldValue): string {
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return (value as readonly FieldValue[]).map(oneLine).join(", ");
  return nameIn(value as Fields);
}

/** A value; `other` is what stands beside it, and what is not in both is marked as `how` says. */
export function Value(props: {
  field: InventoryField | undefined;
  value: FieldValue | undefined;
  other?: FieldValue | undefined;
  how?: "added" | "removed";
}) {
  const { field, value, how } = props;
  const lines = linesOf(field, value);
  const beside = how ? new Set(linesOf(field, props.other)) : undefined;
  const shown = lines.map((line) => <Line text={line} how={beside?.has(line) ? undefined : how} />);
  if (lines.length <= SHOWN_LINES) return <>{shown}</>;
  return (
    <>
      {shown.slice(0, SHOWN_LINES)}
      <details>
        <summary>{number(lines.length - SHOWN_LINES)} more</summary>
        {shown.slice(SHOWN_LINES)}
      </details>
    </>
  );
}

function Line({ text, how }: { text: string; how: "added" | "removed" | undefined }) {
  const content = <Long text={text} />;
  if (how === "added") return <ins class="line">{content}</ins>;
  if (how === "removed") return <del class="line">{content}</del>;
  return <span class="line">{content}</span>;
}

function Long({ text }: { text: string }) {
  if (text.length <= SHOWN_CHARACTERS) return <>{text}</>;
  return (
    <details>
      <summary>
        {text.slice(0, SHOWN_CHARACTERS / 2)}…{" "}
        <span class="faint">{number(text.length)} characters</span>
      </summary>
      {text}
    </details>
  );
}

/** `primary_ip4` as `primary ip4`, the name itself on hover. */
export function FieldName({ type, name }: { type: InventoryType | undefined; name: string }) {
  const known = type === undefined || type.fields.has(name);
  return (
    <span title={known ? name : `${name}: no field of the registry any more`}>
      {name.replaceAll("_", " ")}
    </span>
  );
}
