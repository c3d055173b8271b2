// What the whole page knows: who is here, where one is, the threads, the models, what went wrong last.

import { api, Refused, whenSignedOut, type Model, type Thread, type Visitor } from './api'

export type Theme = 'system' | 'light' | 'dark'

class App {
  visitor = $state<Visitor | null>(null)
  ready = $state(false)
  route = $state<string[]>(parts())
  threads = $state<Thread[]>([])
  models = $state<Model[]>([])
  waiting = $derived(this.threads.filter((thread) => thread.state === 'waiting' || thread.state === 'failed').length)
  trouble = $state<{ message: string; request: string } | null>(null)
  said = $state('')
  palette = $state(false)
  theme = $state<Theme>((localStorage.getItem('theme') as Theme | null) ?? 'system')

  constructor() {
    addEventListener('hashchange', () => {
      this.route = parts()
      this.trouble = null
    })
    whenSignedOut(() => (this.visitor = null))
    this.paint()
  }

  async begin(): Promise<void> {
    if (this.route[0] === 'in' && this.route[1]) {
      const link = this.route[1]
      history.replaceState(null, '', '/#/')
      this.route = parts()
      await this.attempt(async () => void (this.visitor = await api.signIn({ link })))
    }
    if (!this.visitor) this.visitor = await api.me().catch(() => null)
    if (this.visitor) await this.load()
    this.ready = true
  }

  async signIn(key: string): Promise<void> {
    this.visitor = await api.signIn({ key })
    await this.load()
  }

  async signOut(): Promise<void> {
    await api.signOut()
    this.visitor = null
    this.threads = []
    location.hash = '#/'
    const { login } = await api.ways().catch(() => ({ login: null }))
    if (login) location.href = '/auth/logout' // who came from the identity provider leaves there, too
  }

  async load(): Promise<void> {
    await Promise.all([
      this.refresh(),
      this.attempt(async () => {
        this.models = (await api.models()).filter((model) => model.x_headrace.operations.includes('chat'))
      }),
    ])
  }

  refresh = () => this.attempt(async () => void (this.threads = await api.threads()))

  /** Do it; what goes wrong is shown, and undefined is returned. */
  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (error.status !== 401 || this.visitor === null) this.trouble = { message: error.message, request: error.request }
      return undefined
    }
  }

  /** For who hears the page instead of seeing it. */
  announce(words: string): void {
    this.said = words
  }

  setTheme(theme: Theme): void {
    this.theme = theme
    localStorage.setItem('theme', theme)
    this.paint()
  }

  private paint(): void {
    if (this.theme === 'system') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = this.theme
  }
}

const parts = () => location.hash.replace(/^#\/?/, '').split('?')[0]!.split('/').filter(Boolean).map(decodeURIComponent)

export const query = () => new URLSearchParams(location.hash.split('?')[1] ?? '')
export const app = new App()
export const go = (path: string) => void (location.hash = `#/${path}`)
