/** `/config.json`: where to sign in. One bundle fits every environment. */

import type { DashboardConfig } from "@/api/types";

export async function loadConfig(): Promise<DashboardConfig> {
  const response = await fetch("/config.json", { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`The service answered ${response.status}.`);
  return (await response.json()) as DashboardConfig;
}
