/**
 * The signed-in session: Keycloak by the authorization code flow with PKCE. Tokens live in this module's memory only.
 *
 *     starting -> signed_in -> ended      the refresh token is no longer good, or another tab signed out
 *     starting -> signed_out              the page /signed-out, where nobody is sent to sign in again by force
 */

import Keycloak from "keycloak-js";
import type { DashboardConfig } from "@/api/types";

export type SessionState = "starting" | "signed_in" | "signed_out" | "ended";

export const SIGNED_OUT_PATH = "/signed-out";
const RENEW_BEFORE_S = 60;
const CHECK_EVERY_MS = 15_000;
const CHANNEL = "recon.session";

/** What the sign-in service adds to an address; it refuses to come back to one that has them already. */
const SIGN_IN_PARAMETERS = [
  "code",
  "state",
  "session_state",
  "iss",
  "error",
  "error_description",
  "error_uri",
];

type Listener = () => void;

/** An address as the sign-in service may be asked to come back to it. */
export function returnAddress(address: string): string {
  const url = new URL(address);
  for (const name of SIGN_IN_PARAMETERS) if (url.searchParams.has(name)) url.searchParams.delete(name);
  return url.href;
}

class Session {
  private keycloak: Keycloak | null = null;
  private state: SessionState = "starting";
  private readonly listeners = new Set<Listener>();
  private readonly renewals = new Set<(token: string) => void>();
  private renewing: Promise<boolean> | null = null;
  private channel: BroadcastChannel | null = null;

  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly current = (): SessionState => this.state;

  /** Goes to the sign-in page unless somebody is signed in already. Resolves when there is a token, or on /signed-out. */
  async start(config: DashboardConfig): Promise<void> {
    const keycloak = new Keycloak({
      url: config.keycloak_url,
      realm: config.realm,
      clientId: config.client_id,
    });
    this.keycloak = keycloak;
    // Not with `login-required`: keycloak-js would then leave the page by itself whenever a session ends.
    const signedIn = await keycloak.init({
      pkceMethod: "S256",
      checkLoginIframe: false, // needs third-party cookies; a channel between tabs and short tokens do its work
      responseMode: "query",
    });
    this.listenToOtherTabs();
    if (!signedIn && window.location.pathname === SIGNED_OUT_PATH) {
      this.move("signed_out");
      return;
    }
    if (!signedIn) {
      await this.signIn();
      return new Promise(() => undefined); // the page is about to be left
    }
    this.move("signed_in");
    window.setInterval(() => void this.renew(RENEW_BEFORE_S), CHECK_EVERY_MS);
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.renew(RENEW_BEFORE_S);
    });
  }

  /** The access token, renewed first when it is about to expire; null when the session is over. */
  async token(): Promise<string | null> {
    if (this.state !== "signed_in") return null;
    await this.renew(10);
    return this.keycloak?.token ?? null;
  }

  /** The token as it is now. */
  currentToken(): string | null {
    return this.state === "signed_in" ? (this.keycloak?.token ?? null) : null;
  }

  /** Called with each new token. */
  onRenewed(listener: (token: string) => void): () => void {
    this.renewals.add(listener);
    return () => this.renewals.delete(listener);
  }

  /** Asks for a new token when the present one has less than `seconds` left; -1 asks in any case. */
  renew(seconds: number): Promise<boolean> {
    // One at a time: each refresh token is good for one use.
    this.renewing ??= this.renewOnce(seconds).finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  private async renewOnce(seconds: number): Promise<boolean> {
    const keycloak = this.keycloak;
    if (!keycloak || this.state !== "signed_in") return false;
    try {
      const renewed = await keycloak.updateToken(seconds);
      if (renewed && keycloak.token) for (const listener of this.renewals) listener(keycloak.token);
      return true;
    } catch {
      // keycloak-js clears the token when Keycloak refuses the refresh; when Keycloak is only away it keeps it.
      if (!keycloak.authenticated || keycloak.isTokenExpired()) this.move("ended");
      return false;
    }
  }

  /** The service refused a fresh token: only signing in again helps. */
  end(): void {
    if (this.state === "signed_in") this.move("ended");
  }

  /** Back to the sign-in page, and from there to where one was. */
  async signIn(target: string = window.location.href): Promise<void> {
    if (!this.keycloak) return;
    // In place of this page, not after it: going back must not lead to a page that only goes on to sign in again.
    const address = await this.keycloak.createLoginUrl({ redirectUri: returnAddress(target) });
    window.location.replace(address);
  }

  /** Ends the session at Keycloak, for all tabs and all applications of the realm. */
  async signOut(): Promise<void> {
    this.channel?.postMessage("signed-out");
    await this.keycloak?.logout({ redirectUri: new URL(SIGNED_OUT_PATH, window.location.origin).href });
  }

  private listenToOtherTabs(): void {
    if (typeof BroadcastChannel === "undefined") return;
    this.channel = new BroadcastChannel(CHANNEL);
    this.channel.onmessage = () => {
      if (this.state !== "signed_in") return;
      this.keycloak?.clearToken();
      this.move("ended");
    };
  }

  private move(state: SessionState): void {
    this.state = state;
    for (const listener of this.listeners) listener();
  }
}

export const session = new Session();
