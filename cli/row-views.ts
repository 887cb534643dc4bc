import type { Holdfast } from "../client/index.ts";

/** Rows the client hands out as they are stored, in the shapes the HTTP API gives them. */

type Rows<T> = T extends (...args: never[]) => Promise<(infer R)[]> ? R : never;
type Event = Rows<Holdfast["operation"]["events"]>;
type Audit = Rows<Holdfast["operation"]["audit"]>;
type Brake = Rows<Holdfast["brake"]["list"]>;
type Key = Rows<Holdfast["key"]["list"]>;

export function viewEvent({ id, at, type, tenant, operation_id, body }: Event) {
  return { id, at: at.toISOString(), type, tenant, operationId: operation_id, body };
}
export type EventView = ReturnType<typeof viewEvent>;

export function viewAudit({ id, at, actor, action, tenant, subject, before, after }: Audit) {
  const [was, is] = [before ?? null, after ?? null];
  return { id, at: at.toISOString(), actor, action, tenant, subject, before: was, after: is };
}
export type AuditView = ReturnType<typeof viewAudit>;

export function viewBrake({ applies_to, name, reason, set_by, set_at }: Brake) {
  return { appliesTo: applies_to, name, reason, setBy: set_by, setAt: set_at.toISOString() };
}

export function viewKey({ id, name, role, tenants, created_by, created_at, revoked_at }: Key) {
  return {
    id,
    name,
    role,
    tenants,
    createdBy: created_by,
    createdAt: created_at.toISOString(),
    revokedAt: revoked_at?.toISOString() ?? null,
  };
}
