// What is loaded when it is first needed: colours for code, formulas, diagrams.

import { clean } from './markdown'

let colours: Promise<typeof import('./colours')> | null = null
let diagrams: Promise<typeof import('./diagrams')> | null = null
let formulas: Promise<typeof import('./formulas')> | null = null

/** Colour the code in `node`, once it stands still. */
export async function colour(node: HTMLElement): Promise<void> {
  const blocks = [...node.querySelectorAll<HTMLElement>('pre > code[class*="language-"]:not([data-done])')]
  if (!blocks.length) return
  colours ??= import('./colours')
  const { highlighted } = await colours
  for (const block of blocks) {
    const language = /language-([\w+#-]+)/.exec(block.className)?.[1] ?? ''
    const html = highlighted(block.textContent ?? '', language)
    block.dataset.done = 'true'
    if (html !== null) block.innerHTML = clean(html)
  }
}

/** Typeset the formulas in `node`. */
export async function typeset(node: HTMLElement): Promise<void> {
  const found = [...node.querySelectorAll<HTMLElement>('.formula:not([data-done])')]
  if (!found.length) return
  formulas ??= import('./formulas')
  const { render } = await formulas
  for (const one of found) {
    const source = one.textContent ?? ''
    one.dataset.done = 'true'
    render(source, one, one.dataset.display === 'true')
  }
}

/** Draw the diagrams in `node`, each in place of its source, which stays at hand; of a faulty one the source is shown, and why. */
export async function draw(node: HTMLElement): Promise<void> {
  const blocks = [...node.querySelectorAll<HTMLElement>('pre > code.language-mermaid:not([data-done])')]
  for (const block of blocks) block.dataset.done = 'true'
  if (!blocks.length) return
  diagrams ??= import('./diagrams')
  const { drawn } = await diagrams
  for (const block of blocks) {
    const source = block.textContent ?? ''
    const figure = document.createElement('figure')
    figure.className = 'diagram'
    const picture = document.createElement('img')
    const words = document.createElement('details')
    const pre = block.parentElement!
    const paint = () => {
      try {
        const url = URL.createObjectURL(drawn(source))
        picture.onload = picture.onerror = () => URL.revokeObjectURL(url)
        picture.src = url
        return ''
      } catch (error) {
        return (error as Error).message
      }
    }
    const wrong = paint()
    if (wrong) {
      const why = document.createElement('p')
      why.className = 'note small'
      why.textContent = `This diagram can't be drawn: ${wrong}.`
      pre.before(why)
      continue
    }
    picture.alt = `Diagram. ${source.trim()}`
    words.append(Object.assign(document.createElement('summary'), { textContent: 'Source', className: 'soft small' }))
    figure.append(picture, words)
    pre.replaceWith(figure)
    words.append(pre)
    shownInColours.set(figure, paint)
  }
}

const shownInColours = new Map<HTMLElement, () => string>()

/** The colours of the page have changed: what is drawn in them is drawn again. */
function repaint(): void {
  for (const [figure, paint] of shownInColours) {
    if (figure.isConnected) paint()
    else shownInColours.delete(figure)
  }
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint)
new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ['data-theme'] })
