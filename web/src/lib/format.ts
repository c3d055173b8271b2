// Numbers, money and time as people read them.

const counts = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const dayAndClock = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })

export const count = (value: number) => counts.format(value)
export const short = (value: number) => (value < 10_000 ? counts.format(value) : compact.format(value))
export const date = (moment: number) => new Date(moment / 1e6)
export const time = (moment: number) => clock.format(date(moment))
export const dayTime = (moment: number) => dayAndClock.format(date(moment))
export const utc = (moment: number) => date(moment).toISOString().replace('T', ' ').slice(0, 19) + ' UTC'

/** US dollars: two digits where that says something, else the first two that do. */
export function money(usd: string | number | null | undefined): string {
  if (usd === null || usd === undefined) return '–'
  const value = typeof usd === 'number' ? usd : Number(usd)
  if (value === 0) return '$0'
  const digits = Math.abs(value) >= 0.1 ? 2 : Math.min(12, 1 - Math.floor(Math.log10(Math.abs(value))))
  return `$${value.toLocaleString('en', { minimumFractionDigits: Math.abs(value) >= 0.1 ? 2 : 0, maximumFractionDigits: digits })}`
}

/** When: the hour today, the day otherwise. */
export function when(moment: number, now = Date.now()): string {
  const at = date(moment)
  return new Date(now).toDateString() === at.toDateString() ? clock.format(at) : day.format(at)
}

export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–'
  if (ms < 1000) return `${Math.round(ms)} ms`
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

export function size(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / (1 << 20)).toFixed(1)} MB`
}
