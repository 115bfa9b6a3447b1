/** Stands for keycloak-js while the screens are built without a stack: everybody is adam. */

export default class Keycloak {
  token = "mock";
  authenticated = true;
  async init(): Promise<boolean> {
    return !window.location.pathname.startsWith("/signed-out");
  }
  async updateToken(): Promise<boolean> {
    return false;
  }
  async login(options: { redirectUri: string }): Promise<void> {
    window.location.href = options.redirectUri;
  }
  async logout(options: { redirectUri: string }): Promise<void> {
    window.location.href = options.redirectUri;
  }
  isTokenExpired(): boolean {
    return false;
  }
  clearToken(): void {
    this.authenticated = false;
  }
}
