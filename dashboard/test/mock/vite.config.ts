/** The screens on made-up data: `npm run mock`. */

import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { mockService } from "./server";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: at("../.."),
  cacheDir: at("../../node_modules/.vite-mock"),
  plugins: [react(), mockService()],
  resolve: { alias: { "@": at("../../src"), "keycloak-js": at("./keycloak.ts") } },
  server: { host: "127.0.0.1", port: Number(process.env.MOCK_PORT ?? 5199), watch: null, hmr: false },
});
