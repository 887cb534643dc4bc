/**
 * Who may do what: the one table, checked on every route and every console form. Roles are ordered;
 * each may do what the ones before it may.
 */
export const ROLES = ["viewer", "service", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

export const ACTIONS = {
  read: "viewer",
  submit: "service",
  ingest: "service",
  claim: "service",
  post: "service",
  mark: "service",
  preview: "operator",
  count: "operator",
  decide: "operator",
  pause: "operator",
  cancel: "operator",
  retry: "operator",
  brake: "operator",
  reindex: "operator",
  webhooks: "admin",
  clear: "admin",
  purge: "admin",
  erase: "admin",
  repair: "admin",
  settings: "admin",
  keys: "admin",
} as const satisfies Record<string, Role>;
export type Action = keyof typeof ACTIONS;

/** True when `role` is at least what `action` asks for. */
export function mayDo(role: Role, action: Action): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(ACTIONS[action]);
}
