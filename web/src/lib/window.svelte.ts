// The window of a thread's browser: what it shows, and what the person does in it, one after another.

import { api, browserOf } from './api'
import { app } from './app.svelte'
import type { Act, Frame, Mark, Scene, Seen } from './types'

const MARK_MS = 1500

export class Window {
  scene = $state.raw<Scene | null>(null)
  frame = $state.raw<Frame | null>(null)
  mark = $state.raw<Mark | null>(null)
  /** Whether it is known what there is. */
  known = $state(false)
  private source: EventSource | null = null
  private waiting: Act[] = []
  private busy = false
  private marked = 0
  private timer = 0

  constructor(readonly thread: string) {}

  /** Look, as long as the page itself is looked at. */
  look = (): void => {
    if (document.hidden) return this.look_away()
    if (this.source) return
    this.source = browserOf(this.thread)
    this.source.addEventListener('seen', (message) => this.see(JSON.parse(message.data) as Seen))
  }

  look_away = (): void => {
    this.source?.close()
    this.source = null
    clearTimeout(this.timer)
  }

  private see(seen: Seen): void {
    this.known = true
    if (seen.type === 'frame') this.frame = seen
    else if (seen.type === 'none') this.scene = this.frame = this.mark = null
    else {
      this.scene = seen
      const mark = seen.mark
      if (!mark || mark.number === this.marked) return
      this.marked = mark.number
      this.mark = mark
      clearTimeout(this.timer)
      this.timer = window.setTimeout(() => (this.mark = null), MARK_MS)
    }
  }

  /** Do it after what is being done; letters and turns of the wheel that wait are done together. */
  async do(act: Act): Promise<boolean> {
    const last = this.waiting.at(-1)
    if (act.type === 'type' && last?.type === 'type') last.text += act.text
    else if (act.type === 'scroll' && last?.type === 'scroll') Object.assign(last, { right: last.right + act.right, down: last.down + act.down })
    else this.waiting.push({ ...act })
    if (this.busy) return true
    this.busy = true
    let well = true
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      const done = next
      well = (await app.attempt(() => api.inBrowser(this.thread, done).then(() => true))) ?? false
      if (!well) this.waiting = []
    }
    this.busy = false
    return well
  }
}
