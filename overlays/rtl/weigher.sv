// Takes the edges out of the bursts that the sampler asked for, one a cycle, and gives each the weight
// that its draw has.
`default_nettype none
module weigher (
  input  wire              clk,
  input  wire              rst,
  input  wire              launch,
  input  wire  [1:0][16:0] decay,
  input  wire              arrives,
  input  wire  [63:0]      data,
  output wire              released,
  output wire              fading_busy,
  input  wire              in_valid,
  input  wire  [14:0]      in,          // the sampler's descriptor
  output wire              in_take,
  output logic             out_valid,
  output logic [23:0]      out_neighbour,
  output logic [14:0]      out_weight,
  output logic             out_set,
  output logic             out_last,    // of its target
  output logic             out_empty,   // no edge at all: the target has none
  input  wire              out_take
);
  wire set, plain, upper, last;
  wire [4:0] edges;
  wire [5:0] first;
  assign {set, plain, upper, edges, first, last} = in;

  wire held, known;
  wire [63:0] pair;
  wire [5:0] unused_count;
  wire [15:0] fade;
  logic [4:0] at;
  wire empty = edges == 0;
  wire odd = at[0] ^ upper;
  wire ends = empty || at + 5'd1 == edges;
  wire [5:0] draw = first - {1'b0, at};
  wire step = !out_valid || out_take;
  wire take = step && in_valid && (empty || (held && known));
  assign in_take = take && ends;
  assign released = take && !empty && (odd || ends);
  wire [31:0] picked = odd ? pair[63:32] : pair[31:0];

  fifo #(.WIDTH(64), .LOG2(5)) pairs (
    .clk, .rst, .push(arrives), .in(data), .pop(released), .out(pair), .valid(held),
    .count(unused_count)
  );
  fading fading (.clk, .rst, .launch, .decay, .set, .draw, .fade, .known,
                 .busy_soon(fading_busy));

  logic valid1, valid2, set1, set2, last1, last2, empty1, empty2;
  logic [23:0] neighbour1, neighbour2, product2;
  logic [7:0] weight1;
  logic [15:0] fade1;
  wire [23:0] rounded = product2 + 24'd128;
  always_ff @(posedge clk)
    if (rst) begin
      at <= 0;
      valid1 <= 0;
      valid2 <= 0;
      out_valid <= 0;
    end else begin
      if (take) at <= ends ? 5'd0 : at + 5'd1;
      if (step) begin
        valid1 <= take;
        valid2 <= valid1;
        out_valid <= valid2;
      end
    end
  always_ff @(posedge clk)
    if (step) begin
      {set1, last1, empty1} <= {set, last && ends, empty};
      {weight1, neighbour1} <= picked;
      fade1 <= plain ? 16'd32768 : fade;
      {set2, last2, empty2, neighbour2} <= {set1, last1, empty1, neighbour1};
      product2 <= weight1 * fade1;
      {out_set, out_last, out_empty, out_neighbour} <= {set2, last2, empty2, neighbour2};
      out_weight <= rounded[22:8];
    end
endmodule
`default_nettype wire
