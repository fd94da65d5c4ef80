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
  output logic             released,    // a beat of the queue is free again
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
  // The descriptor in hand, in registers: what is left of its burst.
  logic hand, set, plain, odd, last, empty, ends;
  logic [4:0] left;
  logic [5:0] draw;
  wire held, known;
  wire [63:0] pair;
  wire [5:0] unused_count;
  wire [15:0] fade;
  wire step = !out_valid || out_take;
  wire take = step && hand && (empty || (held && known));
  wire pop = take && !empty && (odd || ends);
  assign in_take = in_valid && (!hand || (take && ends));
  wire [31:0] picked = odd ? pair[63:32] : pair[31:0];
  wire [4:0] in_left = in[11:7];

  always_ff @(posedge clk) begin
    hand <= !rst && (in_take || (hand && !(take && ends)));
    released <= pop && !rst;
    if (in_take) begin
      {set, plain, odd, left, draw, last} <= in;
      empty <= in_left == 0;
      ends <= in_left <= 1;
    end else if (take) begin
      odd <= !odd;
      left <= left - 1'b1;
      draw <= draw - 1'b1;
      ends <= left == 2;
    end
  end

  fifo #(.WIDTH(64), .LOG2(5)) pairs (
    .clk, .rst, .push(arrives), .in(data), .pop, .out(pair), .valid(held),
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
      valid1 <= 0;
      valid2 <= 0;
      out_valid <= 0;
    end else begin
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
